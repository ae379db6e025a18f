"""Runs with unequal rows: a million equal personas, dialogues of one character alone, and equal replies."""

import json
import tempfile
from collections.abc import Callable
from pathlib import Path

from factory.storage.tables import Table
from tests.benchmarks import curation
from tests.benchmarks.scale import PROFILE, run_job

PERSONAS, DIALOGUES = 1_000_000, 100_000
REPLY = "I count the loaves aloud before sunrise, and whoever comes late to my oven has to go home without bread."


def measure(say: Callable[[str], None], personas: int = PERSONAS, dialogues: int = DIALOGUES) -> dict[str, float]:
    """Return the seconds and the peak memory, in MiB, of each run."""
    figures = {}
    for name, run, rows in (
        ("equal_personas", synthesize, personas),
        ("one_character", curate_one, dialogues),
        ("equal_replies", curate_equal, dialogues),
    ):
        made = run(rows)
        figures |= {f"{name}_seconds": made["seconds"], f"{name}_peak_mib": made["peak_bytes"] / 2**20}
        say(f"  {name}: {rows:,} rows in {made['seconds']:.0f} s, {made['peak_bytes'] / 2**20:,.0f} MiB")
    return figures


def synthesize(rows: int, distinct: int = 3) -> dict[str, float]:
    """Measure profiles of so many personas, of which few differ; the others are rejected as duplicates."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "personas.jsonl"
        with source.open("w") as file:
            for number in range(rows):
                file.write(json.dumps({"persona": f"The {number % distinct}th baker of a large family."}) + "\n")
        config = Path(folder) / "run.json"
        settings = {
            "output": f"{folder}/run",
            "engine": {"kind": "scripted", "default": json.dumps(PROFILE)},
            "personas": {"source": str(source)},
        }
        config.write_text(json.dumps(settings))
        figures = run_job("synthesize", config)
        personas, profiles = (Table(f"{folder}/run", name).manifest() or {} for name in ("personas", "profiles"))
        assert (personas["rows_in"], personas["ok"]) == (rows, distinct), personas
        assert personas["rejected"] == {"duplicate": rows - distinct}, personas
        assert profiles["ok"] == distinct, profiles
        return figures


def curate_equal(rows: int) -> dict[str, float]:
    """Measure the curation of equal replies, of which one stays."""
    figures = curation.run(rows, say=lambda _: REPLY)
    assert (figures["ok"], figures["near_duplicates"]) == (1, rows - 1), figures
    return figures


def curate_one(rows: int) -> dict[str, float]:
    """Measure the curation of one character's dialogues, none of which is lost."""
    figures = curation.run(rows, per_character=rows)
    assert figures["ok"] + figures["rejected"] == rows, figures
    # Some of the random replies are rejected by rules of quality: 321 of 100,000.
    assert figures["ok"] + figures["near_duplicates"] > 0.99 * rows, figures
    return figures

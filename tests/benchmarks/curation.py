"""Time and memory of the curation job over dialogues of the size that the paper's have.

The tables before it are written directly, so no engine takes part. One reply in twenty is nearly
another one, and every character has ten dialogues.
"""

import json
import random
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa

from factory.inference.prompts import load_prompt
from factory.records import Assignment, Counts, Dialogue, Message, Profile, content_id
from factory.storage.manifest import Timing, build_manifest
from factory.storage.rows import ok_row
from factory.storage.schemas import ASSIGNMENTS, DIALOGUES, PROFILES
from factory.storage.tables import Table, rows_per_shard
from factory.text.ngrams import words
from tests.benchmarks.scale import PROFILE, run_job

EACH = 10
REPLY_WORDS = 220
SAME_EVERY = 20
DATA = Path(__file__).parents[2] / "data"
VOCABULARY = sorted(set(words("".join(path.read_text() for path in sorted(DATA.glob("*.jsonl"))))))


def reply(number: int) -> str:
    """Sentences of English words in no order; each twentieth differs from another in one word."""
    drawing = random.Random(number - 1 if number % SAME_EVERY == 1 else number)
    said = [
        drawing.choice(("the", "and", "of", "we", "is")) if n % 2 else drawing.choice(VOCABULARY)
        for n in range(REPLY_WORDS)
    ]
    said[drawing.randrange(REPLY_WORDS)] = f"loaf{number}"
    return " ".join(" ".join(said[n : n + 11]).capitalize() + "." for n in range(0, REPLY_WORDS, 11))


def write_tables(output: str, rows: int) -> None:
    """Profiles, assignments and dialogues of `rows` dialogues."""
    tables = {name: Table(output, name) for name in ("profiles", "assignments/bread", "dialogues/generate-bread")}
    finish(tables["profiles"], rows // EACH)
    finish(tables["assignments/bread"], rows)
    tables["dialogues/generate-bread"].begin("dialogues", {"work": "assignments/bread"})
    finish(tables["dialogues/generate-bread"], rows)
    size = -(-rows_per_shard(rows) // EACH) * EACH
    for start in range(0, rows, size):
        profiles, assignments, made = zip(*dialogues(start, min(rows, start + size)), strict=True)
        shard = f"{start:09}"
        tables["profiles"].write(shard, map(ok_row, profiles[::EACH]), PROFILES)
        work = [{name: value for name, value in ok_row(a).items() if name in ASSIGNMENTS.names} for a in assignments]
        tables["assignments/bread"].write_arrow(shard, pa.Table.from_pylist(work, schema=ASSIGNMENTS))
        tables["dialogues/generate-bread"].write(shard, map(ok_row, made), DIALOGUES)


def dialogues(start: int, end: int) -> Iterator[tuple[Profile, Assignment, Dialogue]]:
    """The rows from one number to another, with their characters."""
    system = load_prompt("training-system")
    for number in range(start, end):
        items = PROFILE | {"name": f"Ada {number // EACH}"}
        text = "\n".join(f"{name}: {value}" for name, value in items.items())
        persona = f"the baker number {number // EACH}"
        profile = Profile(content_id(persona), persona, **items, profile=text, language="English")
        asked = Message("user", f"What do you bake on day {number}?")
        ids = {"character_id": profile.character_id, "instruction_id": content_id(asked.content), "corpus": "bread"}
        assignment = Assignment(**ids, persona=persona, profile=text, messages=(asked,))
        messages = (*system.render(persona=persona, profile=text), asked, Message("assistant", reply(number)))
        yield profile, assignment, Dialogue(content_id(str(number)), "generate", messages=messages, **ids)


def finish(table: Table, rows: int) -> None:
    """Write a manifest."""
    counts = Counts(ok=rows)
    table.finish(build_manifest(table.name, rows, counts, Timing(datetime.now(UTC), 1, counts), table.name))


def run(rows: int) -> dict[str, float]:
    """Seconds, rows a second once Ray is up, and peak bytes of one run."""
    with tempfile.TemporaryDirectory() as folder:
        write_tables(f"{folder}/run", rows)
        config = Path(folder) / "run.json"
        settings = {
            "output": f"{folder}/run",
            "engine": {"kind": "scripted"},
            "personas": {"source": "none.jsonl"},
            "instructions": [{"corpus": "bread", "source": "none.jsonl"}],
        }
        config.write_text(json.dumps(settings))
        figures = run_job("curate", config)
        made = [Table(f"{folder}/run", f"curated/{split}").manifest() or {} for split in ("train", "validation")]
        assert sum(manifest["rows_in"] for manifest in made) == rows
        return {
            **figures,
            "rows_per_second": made[0]["rows_per_second"],
            "near_duplicates": sum(manifest["rejected"].get("near_duplicate", 0) for manifest in made),
        }


def measure(say: Callable[[str], None], small: int = 10_000, large: int = 100_000) -> dict[str, float]:
    """Growth of time and memory from the small run to the large one."""
    runs = {}
    for rows in (small, large):
        made = runs[rows] = run(rows)
        say(
            f"  {rows:,} dialogues: {made['seconds']:.0f} s, {made['rows_per_second']:,.0f} rows/s, "
            f"{made['near_duplicates']:,.0f} near-duplicates, {made['peak_bytes'] / 2**20:,.0f} MiB"
        )
    return {
        "rows_per_second": runs[large]["rows_per_second"],
        "time_growth": runs[large]["seconds"] / runs[small]["seconds"],
        "memory_growth": runs[large]["peak_bytes"] / runs[small]["peak_bytes"],
    }

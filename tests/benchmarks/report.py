"""Time, memory and size of the report of a run of a million characters and as many dialogues."""

import json
import random
import tempfile
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa

from factory.storage.schemas import DIALOGUES, PROFILES
from factory.storage.tables import Table, rows_per_shard
from tests.benchmarks.scale import run_job

FEW, MANY = 100_000, 1_000_000
WORDS = [
    a + b
    for a in ("ba", "ke", "lo", "mi", "nu", "ra", "so", "ti", "vu")
    for b in ("den", "fal", "gor", "hin", "jas", "kel")
]


def measure(say: Callable[[str], None]) -> dict[str, float]:
    """The figures, as ratios and in megabytes."""
    with tempfile.TemporaryDirectory() as folder:
        few, many = (run(Path(folder) / str(rows), rows) for rows in (FEW, MANY))
    for rows, figures in ((FEW, few), (MANY, many)):
        cost = f"{figures['seconds']:.0f} s, {figures['peak_bytes'] / 2**20:,.0f} MiB at most"
        say(f"  {rows:,} rows: {cost}, a page of {figures['page_bytes'] / 1e6:.1f} MB")
    return {
        "time": many["seconds"] / few["seconds"],
        "memory": many["peak_bytes"] / few["peak_bytes"],
        "page_mb": many["page_bytes"] / 1e6,
    }


def run(folder: Path, rows: int) -> dict[str, float]:
    """Seconds, peak bytes and the page's bytes of one report."""
    write_run(str(folder / "run"), rows)
    config = folder / "config.json"
    instructions = [{"corpus": "x", "source": "data/instructions.jsonl"}]
    personas = {"source": "data/personas.jsonl"}
    settings = {"output": f"{folder}/run", "engine": {"kind": "scripted"}, "personas": personas}
    config.write_text(json.dumps(settings | {"instructions": instructions}))
    figures = run_job("report", config)
    return figures | {"page_bytes": float((folder / "run/report/index.html").stat().st_size)}


def write_run(output: str, rows: int) -> None:
    """Profiles and dialogues of about the paper's sizes; a shard of each has the same texts and ids of its own."""
    draw, size = random.Random(1), rows_per_shard(rows)
    profiles, dialogues = (Table(output, name) for name in ("profiles", "dialogues/generate-x"))
    people = pa.Table.from_pylist([_profile(draw) for _ in range(size)], schema=PROFILES)
    spoken = pa.Table.from_pylist([_dialogue(draw) for _ in range(size)], schema=DIALOGUES)
    for shard in range(rows // size):
        ids = [f"{draw.getrandbits(64):016x}" for _ in range(size)]
        named = {"character_id": ids}
        profiles.write_arrow(f"{shard:05}", _with(people, named))
        others = {
            name: [f"{draw.getrandbits(64):016x}" for _ in range(size)] for name in ("dialogue_id", "instruction_id")
        }
        dialogues.write_arrow(f"{shard:05}", _with(spoken, named | others))
    for table in (profiles, dialogues):
        many = rows // size * size
        table.finish({"step": table.name, "rows_in": many, "ok": many, "rejected": {}, "output_tokens": 500 * many})


def _words(draw: random.Random, many: int) -> str:
    return " ".join(draw.choices(WORDS, k=many))


def _profile(draw: random.Random) -> dict:
    items = {
        "persona": _words(draw, 20), "name": _words(draw, 2), "age": str(draw.randint(8, 95)), "gender": "female",
        "race": _words(draw, 1), "birth_place": _words(draw, 1), "appearance": _words(draw, 40),
        "experience": _words(draw, 110), "personality": _words(draw, 70),
    }  # fmt: skip
    return {**items, "profile": "\n".join(items.values()), "language": "English", "status": "ok", "output_tokens": 400}


def _dialogue(draw: random.Random) -> dict:
    said = [("system", 260), ("user", 30), ("assistant", 220)]
    messages = [{"role": role, "content": _words(draw, many)} for role, many in said]
    return {"strategy": "generate", "corpus": "x", "messages": messages, "status": "ok", "output_tokens": 300}


def _with(rows: pa.Table, columns: dict[str, list[str]]) -> pa.Table:
    for name, values in columns.items():
        rows = rows.set_column(rows.schema.get_field_index(name), name, pa.array(values))
    return rows

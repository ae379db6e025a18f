"""Time and memory of the curate job, for dialogues of the paper's size.

Its input tables are written directly, without an engine. One reply in twenty is a near-duplicate, and
every character has ten dialogues.
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
from tests.benchmarks import rule_times
from tests.benchmarks.scale import PROFILE, run_job

DIALOGUES_PER_CHARACTER = 10
REPLY_WORDS = 220
DUPLICATE_EVERY = 20
DATA = Path(__file__).parents[2] / "data"
VOCABULARY = sorted(set(words("".join(path.read_text() for path in sorted(DATA.glob("*.jsonl"))))))


def reply(number: int) -> str:
    """Return sentences of random English words; each twentieth reply differs from another in one word."""
    rng = random.Random(number - 1 if number % DUPLICATE_EVERY == 1 else number)
    sampled = [
        rng.choice(("the", "and", "of", "we", "is")) if n % 2 else rng.choice(VOCABULARY) for n in range(REPLY_WORDS)
    ]
    sampled[rng.randrange(REPLY_WORDS)] = f"loaf{number}"
    return " ".join(" ".join(sampled[n : n + 11]).capitalize() + "." for n in range(0, REPLY_WORDS, 11))


def write_tables(
    output: str, rows: int, per_character: int = DIALOGUES_PER_CHARACTER, say: Callable[[int], str] = reply
) -> None:
    """Write the profiles, assignments and dialogues of so many dialogues, whose replies `say` returns by number."""
    tables = {name: Table(output, name) for name in ("profiles", "assignments/bread", "dialogues/generate-bread")}
    finish(tables["profiles"], rows // per_character)
    finish(tables["assignments/bread"], rows)
    tables["dialogues/generate-bread"].begin("dialogues", {"work": "assignments/bread"})
    finish(tables["dialogues/generate-bread"], rows)
    size = rows_per_shard(rows)
    for start in range(0, rows, size):
        numbers = range(start, min(rows, start + size))
        profiles, assignments, rows_ = zip(*dialogues(numbers, per_character, say), strict=True)
        shard = f"{start:09}"
        new = [profile for number, profile in zip(numbers, profiles, strict=True) if number % per_character == 0]
        tables["profiles"].write(shard, map(ok_row, new), PROFILES)
        work = [{name: value for name, value in ok_row(a).items() if name in ASSIGNMENTS.names} for a in assignments]
        tables["assignments/bread"].write_arrow(shard, pa.Table.from_pylist(work, schema=ASSIGNMENTS))
        tables["dialogues/generate-bread"].write(shard, map(ok_row, rows_), DIALOGUES)


def dialogues(
    numbers: range, per_character: int, say: Callable[[int], str]
) -> Iterator[tuple[Profile, Assignment, Dialogue]]:
    """Yield the rows of some numbers, with their characters."""
    system = load_prompt("training-system")
    for number in numbers:
        items = PROFILE | {"name": f"Ada {number // per_character}"}
        text = "\n".join(f"{name}: {value}" for name, value in items.items())
        persona = f"the baker number {number // per_character}"
        profile = Profile(content_id(persona), persona, **items, profile=text, language="English")
        user = Message("user", f"What do you bake on day {number}?")
        ids = {"character_id": profile.character_id, "instruction_id": content_id(user.content), "corpus": "bread"}
        assignment = Assignment(**ids, persona=persona, profile=text, messages=(user,))
        messages = (*system.render(persona=persona, profile=text), user, Message("assistant", say(number)))
        yield profile, assignment, Dialogue(content_id(str(number)), "generate", messages=messages, **ids)


def finish(table: Table, rows: int) -> None:
    """Write a manifest."""
    counts = Counts(ok=rows)
    table.finish(build_manifest(table.name, rows, counts, Timing(datetime.now(UTC), 1, counts), table.name))


def run(rows: int, per_character: int = DIALOGUES_PER_CHARACTER, say: Callable[[int], str] = reply) -> dict[str, float]:
    """Return seconds, rows per second after Ray's start, peak bytes, and counts of a run."""
    with tempfile.TemporaryDirectory() as folder:
        write_tables(f"{folder}/run", rows, per_character, say)
        config = Path(folder) / "run.json"
        settings = {
            "output": f"{folder}/run",
            "engine": {"kind": "scripted"},
            "personas": {"source": "none.jsonl"},
            "instructions": [{"corpus": "bread", "source": "none.jsonl"}],
        }
        config.write_text(json.dumps(settings))
        figures = run_job("curate", config)
        manifests = [Table(f"{folder}/run", f"curated/{split}").manifest() or {} for split in ("train", "validation")]
        assert sum(manifest["rows_in"] for manifest in manifests) == rows
        return {
            **figures,
            "rows_per_second": manifests[0]["rows_per_second"],
            "near_duplicates": sum(manifest["rejected"].get("near_duplicate", 0) for manifest in manifests),
            "rejected": sum(sum(manifest["rejected"].values()) for manifest in manifests),
            "ok": sum(manifest["ok"] for manifest in manifests),
        }


def measure(say: Callable[[str], None], small: int = 10_000, large: int = 100_000) -> dict[str, float]:
    """Return the growth of time and memory from the small run to the large one, and the milliseconds of rules."""
    runs = {}
    for rows in (small, large):
        figures = runs[rows] = run(rows)
        say(
            f"  {rows:,} dialogues: {figures['seconds']:.0f} s, {figures['rows_per_second']:,.0f} rows/s, "
            f"{figures['near_duplicates']:,.0f} near-duplicates, {figures['peak_bytes'] / 2**20:,.0f} MiB"
        )
    return {
        "rows_per_second": runs[large]["rows_per_second"],
        "time_growth": runs[large]["seconds"] / runs[small]["seconds"],
        "memory_growth": runs[large]["peak_bytes"] / runs[small]["peak_bytes"],
        **rule_times.measure(),
    }

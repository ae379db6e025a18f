"""Every dialogue before the rules, the benchmark and what protects people, and its replies to bands of their signature.

    dialogues ┐
              ├─ a unit: judged ──► verdicts, a row a dialogue
    assignments ┘            └────► bands of the good ones, spilled by band

A unit that has its verdicts is done, so a killed run goes on with the others.
"""

import json
from collections import Counter
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import ray

from factory.curation.minhash import PERMUTATIONS, band_keys, banding_for, signature
from factory.curation.rules.context import DialogueContext
from factory.curation.rules.decontamination import Benchmark, benchmark_text
from factory.curation.rules.quality import judge
from factory.curation.rules.real_people import RealPeople
from factory.curation.rules.reply_form import language_of
from factory.curation.rules.safety import unsafe
from factory.curation.rules.toxicity import toxicities
from factory.curation.run import Run, units
from factory.curation.sampling import SPLITS, in_validation
from factory.errors import DamagedError
from factory.records import Counts, Reject
from factory.runtime import metrics
from factory.runtime.progress import Progress
from factory.runtime.ray_session import dataset_of, iter_rows
from factory.storage import file_io
from factory.storage.rows import Row
from factory.storage.shuffle import FileShuffle

VERDICTS = pa.schema(
    [
        ("dialogue", pa.uint64()),
        ("character", pa.uint64()),
        ("reason", pa.string()),
        ("found", pa.string()),
        ("language", pa.string()),
    ]
)
Held = tuple[Benchmark, RealPeople | None]
"""What dialogues are held against."""
BANDS = pa.schema([("band", pa.uint64()), ("dialogue", pa.uint64())])
EXAMINED = "curated/examined"
"""The step that a dashboard sees while dialogues are judged."""
SPILLED = ".arrow"
BYTES_PER_BAND = 16
BYTES_A_PARTITION = 32 << 20
"""Of the numbers that are brought together here; a task holds them about four times."""


@dataclass(frozen=True)
class FilterResult:
    """What is known when all dialogues have been judged."""

    units: list[dict[str, Any]]
    entered: dict[str, int]
    """Dialogues of each split, good or not."""
    bands: FileShuffle | None
    """None where near-duplicates may stay."""


def filter_dialogues(run: Run, progress: Progress) -> FilterResult:
    """Judge all dialogues that have not been judged yet."""
    work = units(run)
    there, bands = set(run.verdicts.shards()), _bands(run)
    if bands:  # of a unit whose file is gone, no twin would be found
        there &= {name.removesuffix(SPILLED) for name in file_io.list_names(bands.folder, SPILLED)}
    done = [unit for unit in work if run.name(unit) in there]
    left = [unit for unit in work if run.name(unit) not in there]
    entered: Counter[str] = Counter()
    earlier = Counts()
    if done:
        for row in iter_rows(dataset_of(done).map(partial(_recount, run), num_cpus=0.5)):
            earlier += _told(row, entered)
            if row["damage"]:
                progress.say(f"{row['damage']}; its dialogues are judged again")
                left += [unit for unit in done if run.name(unit) == row["name"]]
    progress.resume(earlier)
    rows = earlier.rows
    if left:
        for row in iter_rows(dataset_of(left).map(partial(_examine, run, bands), num_cpus=1)):
            judged = _told(row, entered)
            progress.advance(judged)
            rows += judged.rows
            # Without the reasons: those stand in the curated tables, and are counted as these are written.
            metrics.count(EXAMINED, Counts(ok=judged.rows))
            metrics.set_rows_left(EXAMINED, run.rows - rows)
    return FilterResult(work, dict(entered), bands)


def _bands(run: Run) -> FileShuffle | None:
    similarity = run.config.curation.near_duplicates.threshold
    if similarity is None:
        return None
    size = run.rows * banding_for(similarity).bands * BYTES_PER_BAND
    return FileShuffle(file_io.join(run.scratch, "bands"), 1 + size // BYTES_A_PARTITION, BANDS)


def _told(row: Row, entered: Counter[str]) -> Counts:
    entered.update(json.loads(row["entered"]))
    return Counts(**json.loads(row["counts"]))


def _recount(run: Run, unit: Row) -> dict[str, Any]:
    name, none = run.name(unit), VERDICTS.empty_table()
    try:
        return {"name": name, "damage": "", **_account(run, run.verdicts.read(name, ["character", "reason"]))}
    except DamagedError as problem:
        return {"name": name, "damage": str(problem), **_account(run, none)}


def _account(run: Run, verdicts: pa.Table) -> dict[str, Any]:
    reasons = Counter(verdicts["reason"].to_pylist())
    good = reasons.pop(None, 0)
    later = in_validation(
        verdicts["character"].to_numpy(), run.config.seed, run.config.curation.validation_fraction
    ).sum()
    entered = dict(zip(SPLITS, (verdicts.num_rows - int(later), int(later)), strict=True))
    return {"entered": json.dumps(entered), "counts": json.dumps(asdict(Counts(good, dict(reasons))))}


def _examine(run: Run, bands: FileShuffle | None, unit: Row) -> dict[str, Any]:
    work = run.assignments(unit).to_pylist()
    assigned = {(row["instruction_id"], row["character_id"]): row for row in work}
    held: Held = (ray.get(run.benchmark), ray.get(run.people))
    rows = run.dialogues(unit).to_pylist()
    cases = [DialogueContext.of(row, assigned[row["instruction_id"], row["character_id"]]) for row in rows]
    toxic = np.zeros(len(cases)) if run.config.safety.toxicity is None else toxicities(cases)
    verdicts, good = [], []
    for row, case, toxicity in zip(rows, cases, toxic.tolist(), strict=True):
        verdicts.append(_verdict(run, held, row, case, toxicity))
        if verdicts[-1]["reason"] is None and bands:
            good.append((verdicts[-1]["dialogue"], signature(np.concatenate(case.reply_hashes))))
    if bands:
        _spill(run, bands, good, f"{run.name(unit)}{SPILLED}")
    table = pa.Table.from_pylist(verdicts, schema=VERDICTS)
    run.verdicts.write_arrow(run.name(unit), table)  # after the bands: a unit with verdicts is done
    return _account(run, table)


def _verdict(run: Run, held: Held, row: Row, case: DialogueContext, toxicity: float) -> dict[str, Any]:
    benchmark, people = held
    reject = unsafe(case, run.config.safety, people, toxicity) or judge(case, run.book)
    if reject is None:
        found = benchmark_text(case.messages, benchmark)
        reject = Reject("benchmark_text", found) if found else None
    spoken = None if reject else language_of(max(case.replies, key=len), run.book)
    return {
        "dialogue": int(row["dialogue_id"], 16),
        "character": int(row["character_id"], 16),
        "reason": reject and reject.reason,
        "found": reject and reject.detail,
        "language": (spoken or "unknown").lower(),
    }


def _spill(run: Run, bands: FileShuffle, good: list[tuple[int, np.ndarray]], name: str) -> None:
    banding = banding_for(run.config.curation.near_duplicates.threshold or 1)
    signatures = np.array([sketch for _, sketch in good], np.uint32).reshape(len(good), PERMUTATIONS)
    keys = band_keys(signatures, banding)
    dialogues = np.repeat(np.array([dialogue for dialogue, _ in good], np.uint64), banding.bands)
    rows = pa.table([keys.ravel(), dialogues], schema=BANDS)
    bands.spill(rows, keys.ravel().astype(np.int64), name)

"""Filter: quality, contamination and safety rules for every dialogue, and MinHash bands of those that pass.

    dialogues ───┐
                 ├─ a unit ──► filtered: a row per dialogue, with the bands of an accepted one
    assignments ─┘

A unit with a shard in `filtered` is done, so an interrupted run continues with the others.
"""

import json
from collections import Counter
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import ray

from factory.curation.curation_run import CurationRun, units
from factory.curation.rules.context import DialogueContext
from factory.curation.rules.custom_rules import check_custom_rules
from factory.curation.rules.decontamination import BenchmarkTexts, find_benchmark_text
from factory.curation.rules.quality import check_quality
from factory.curation.rules.real_people import RealPeople
from factory.curation.rules.safety import check_safety
from factory.curation.rules.toxicity import toxicities
from factory.curation.sampling import SPLITS, in_validation
from factory.errors import DamagedError
from factory.records import Counts, Reject
from factory.runtime import metrics
from factory.runtime.progress import Progress
from factory.runtime.ray_session import IO_TASK_CPUS, dataset_of, iter_rows
from factory.storage.rows import Row, to_messages
from factory.text.minhash import band_keys, banding_for, signature

FILTERED = pa.schema(
    [
        ("dialogue", pa.uint64()),
        ("character", pa.uint64()),
        ("reason", pa.string()),
        ("found", pa.string()),
        ("language", pa.string()),
        ("bands", pa.list_(pa.uint64())),
    ]
)
METRIC = "curated/filtered"
"""The step that dashboards show while dialogues are filtered."""
PARTITION_BYTES = 32 << 20
"""Target size of a partition of these numbers; a task needs about four times as much memory."""


@dataclass(frozen=True)
class FilterResult:
    """The result of the filter step."""

    units: list[dict[str, Any]]
    rows_in: dict[str, int]
    """Dialogues of each split, accepted or not."""


def filter_dialogues(run: CurationRun, progress: Progress) -> FilterResult:
    """Apply the rules to all dialogues that have no result yet."""
    work = units(run)
    finished = set(run.filtered.shards())
    done = [unit for unit in work if run.name(unit) in finished]
    left = [unit for unit in work if run.name(unit) not in finished]
    rows_in: Counter[str] = Counter()
    earlier = Counts()
    if done:
        for row in iter_rows(dataset_of(done).map(partial(_recount, run), num_cpus=IO_TASK_CPUS)):
            earlier += _add_counts(row, rows_in)
            if row["damage"]:
                progress.print(f"{row['damage']}; its dialogues are filtered again")
                left += [unit for unit in done if run.name(unit) == row["name"]]
    progress.resume(earlier)
    rows = earlier.rows
    if left:
        for row in iter_rows(dataset_of(left).map(partial(_filter, run), num_cpus=1)):
            filtered = _add_counts(row, rows_in)
            progress.advance(filtered)
            rows += filtered.rows
            # Without the reasons: they are counted when the curated tables are written.
            metrics.count(METRIC, Counts(ok=filtered.rows))
            metrics.set_rows_left(METRIC, run.rows - rows)
    return FilterResult(work, dict(rows_in))


def _add_counts(row: Row, rows_in: Counter[str]) -> Counts:
    """Add a unit's dialogues to those of each split, and return its counts."""
    rows_in.update(json.loads(row["rows_in"]))
    return Counts(**json.loads(row["counts"]))


def _recount(run: CurationRun, unit: Row) -> dict[str, Any]:
    name, empty = run.name(unit), FILTERED.empty_table()
    try:
        return {"name": name, "damage": "", **_count(run, run.filtered.read(name, ["character", "reason"]))}
    except DamagedError as problem:
        return {"name": name, "damage": str(problem), **_count(run, empty)}


def _count(run: CurationRun, filtered: pa.Table) -> dict[str, Any]:
    reasons = Counter(filtered["reason"].to_pylist())
    accepted = reasons.pop(None, 0)
    fraction = run.config.curation.validation_fraction
    validation = int(in_validation(filtered["character"].to_numpy(), run.config.seed, fraction).sum())
    rows_in = dict(zip(SPLITS, (filtered.num_rows - validation, validation), strict=True))
    return {"rows_in": json.dumps(rows_in), "counts": json.dumps(asdict(Counts(accepted, dict(reasons))))}


def _filter(run: CurationRun, unit: Row) -> dict[str, Any]:
    assignments = {(row["instruction_id"], row["character_id"]): row for row in run.assignments(unit).to_pylist()}
    benchmark, people = ray.get(run.benchmark), ray.get(run.people)
    rows = run.dialogues(unit).to_pylist()
    dialogues = [_context(run, row, assignments[row["instruction_id"], row["character_id"]]) for row in rows]
    toxic = np.zeros(len(rows)) if run.config.safety.toxicity is None else toxicities(dialogues)
    results: list[dict[str, Any]] = []
    signatures: dict[int, np.ndarray] = {}
    for row, dialogue, toxicity in zip(rows, dialogues, toxic.tolist(), strict=True):
        reject = _reject(run, benchmark, people, dialogue, toxicity)
        results.append(_result(run, row, dialogue, reject))
        if reject is None and run.config.curation.near_duplicates.threshold is not None:
            signatures[len(results) - 1] = signature(np.concatenate(dialogue.reply_hashes))
    for position, bands in zip(signatures, _bands(run, list(signatures.values())), strict=True):
        results[position]["bands"] = bands
    table = pa.Table.from_pylist(results, schema=FILTERED)
    run.filtered.write_arrow(run.name(unit), table)
    return _count(run, table)


def _context(run: CurationRun, dialogue: Row, assignment: Row) -> DialogueContext:
    references = [m.content for m in to_messages(assignment) if m.role == "assistant"]
    return DialogueContext(
        messages=to_messages(dialogue),
        persona=assignment["persona"],
        profile=assignment["profile"],
        references=tuple(references) if dialogue["strategy"] == "rewrite" else (),
        languages=run.languages,
        prompts=run.prompts,
    )


def _reject(
    run: CurationRun, benchmark: BenchmarkTexts, people: RealPeople | None, dialogue: DialogueContext, toxicity: float
) -> Reject | None:
    reject = check_safety(dialogue, run.config.safety, people, toxicity)
    reject = reject or check_quality(dialogue, run.config.curation.quality)
    reject = reject or check_custom_rules(dialogue, run.config.curation.custom_rules)
    if reject is None and (found := find_benchmark_text(dialogue.messages, benchmark)):
        return Reject("benchmark_text", found)
    return reject


def _result(run: CurationRun, row: Row, dialogue: DialogueContext, reject: Reject | None) -> dict[str, Any]:
    quality = run.config.curation.quality
    longest = max(dialogue.replies, key=len)
    language = None if reject else quality.wrong_language.detect(longest, dialogue.languages)
    return {
        "dialogue": int(row["dialogue_id"], 16),
        "character": int(row["character_id"], 16),
        "reason": reject and reject.reason,
        "found": reject and reject.detail,
        "language": (language or "unknown").lower(),
    }


def _bands(run: CurationRun, signatures: list[np.ndarray]) -> list[list[int]]:
    """Return the keys of the bands of each signature."""
    if not signatures:
        return []
    banding = banding_for(run.config.curation.near_duplicates.threshold or 1)
    return [keys.tolist() for keys in band_keys(np.stack(signatures), banding)]

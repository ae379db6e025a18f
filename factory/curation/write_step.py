"""Writing: the curated tables, with each dialogue in one row, and the statistics of their manifests."""

import pickle
from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import ray

from factory.config import PERSONAL_DATA, Safety
from factory.curation.curation_run import CurationRun, temporary_folder
from factory.curation.dataset_stats import DatasetStats
from factory.curation.filter_step import FilterResult
from factory.curation.rules.custom_rules import CUSTOM_RULE, broken_rule
from factory.curation.rules.personal_data import find_personal_data
from factory.curation.sampling import SPLITS, in_validation
from factory.curation.select_step import Selection, in_mixture
from factory.curation.stratum_step import count_strata
from factory.curation.verdicts import Verdicts, VerdictStats
from factory.errors import InputError
from factory.population.reply_figures import ReplyFigures
from factory.population.table_passes import population_fields
from factory.records import Counts
from factory.runtime import metrics
from factory.runtime.progress import Progress
from factory.runtime.ray_session import IO_TASK_CPUS, dataset_of, iter_rows
from factory.storage import file_io
from factory.storage.manifest import build_manifest
from factory.storage.rows import DETAIL_CHARACTERS, Row
from factory.storage.schemas import EXAMPLES
from factory.text.minhash import banding_for
from factory.text.ngrams import contained, word_hashes
from factory.text.normalize import shorten

_TEXTS = EXAMPLES.field("thoughts").type


@dataclass
class SplitStats:
    """Counts and statistics of shards of one split."""

    counts: Counts = field(default_factory=Counts)
    kept: Counter[str] = field(default_factory=Counter)
    """Accepted dialogues by source."""
    broken: Counter[str] = field(default_factory=Counter)
    """Rejected dialogues by custom rule."""
    dialogues: DatasetStats = field(default_factory=DatasetStats)
    verdicts: VerdictStats = field(default_factory=VerdictStats)
    replies: ReplyFigures = field(default_factory=ReplyFigures)

    def __add__(self, other: "SplitStats") -> "SplitStats":
        return SplitStats(
            self.counts + other.counts,
            self.kept + other.kept,
            self.broken + other.broken,
            self.dialogues + other.dialogues,
            self.verdicts + other.verdicts,
            self.replies + other.replies,
        )


def write_curated(
    run: CurationRun,
    filtered: FilterResult,
    duplicates: Any,
    verdicts: Verdicts,
    selection: Selection,
    progress: Progress,
) -> None:
    """Write all shards and, when every dialogue is in one of them, the manifests.

    Args:
        run: the run.
        filtered: the units and their filter results.
        duplicates: a reference to the near-duplicates.
        verdicts: those of the judge.
        selection: which of the others are kept.
        progress: reports what happens.

    Raises:
        InputError: no dialogue is left to train on.
    """
    stats = {split: SplitStats() for split in SPLITS}
    write = partial(_write, run, duplicates, verdicts, selection.thresholds, selection.over_limit)
    for row in iter_rows(dataset_of(filtered.units).map(write, num_cpus=IO_TASK_CPUS)):
        for split, part in pickle.loads(row["stats"]).items():
            stats[split] += part
            metrics.count(run.tables[split].name, part.counts)
    _check_not_empty(run, stats)
    total = sum((part.counts for part in stats.values()), Counts())
    population = _population_fields(run, filtered, verdicts, stats)
    manifests = []
    for split, other in zip(SPLITS, reversed(SPLITS), strict=True):
        table, counts = run.tables[split], stats[split].counts
        rows = run.rows - filtered.rows_in[other]
        table.check_complete(counts, rows)
        fields = _manifest_fields(run, stats[split], selection, split) | (population if split == "train" else {})
        if verdicts.about:
            fields["judge"] = {**verdicts.about, **stats[split].verdicts.to_manifest()}
        manifests.append(build_manifest(table.name, rows, counts, progress.timing(total), run.fingerprint, **fields))
    for table, manifest in zip(run.tables.values(), manifests, strict=True):
        table.finish(manifest, repeatable=True)
        progress.record_table(manifest)
    if run.config.curation.validation_fraction and not stats["validation"].counts.ok:
        progress.print(f"{run.tables['validation'].name}: has no dialogues; raise curation.validation_fraction")
    file_io.delete_folder(temporary_folder(run.config))


def _check_not_empty(run: CurationRun, stats: dict[str, SplitStats]) -> None:
    train, validation = (stats[split].counts for split in SPLITS)
    if train.ok:
        return
    if validation.ok:
        raise InputError(
            f"{run.tables['train'].name}: all {validation.ok} accepted dialogues are of validation characters; "
            "lower curation.validation_fraction or add more characters"
        )
    reasons = ", ".join(f"{reason} {rows}" for reason, rows in (train + validation).rejected.items())
    raise InputError(
        f"curated: none of {run.rows} dialogues was accepted ({reasons}); loosen curation.quality, "
        f"or look up the reason of each in {run.tables['train'].path}"
    )


def _population_fields(
    run: CurationRun, filtered: FilterResult, verdicts: Verdicts, stats: dict[str, SplitStats]
) -> dict[str, Any]:
    """Return the figures and alarms of both splits together."""
    replies = sum((part.replies for part in stats.values()), ReplyFigures())
    figures = replies.to_manifest() | {"strata": count_strata(run, filtered, verdicts).to_manifest()}
    return population_fields(figures, run.config.alarms)


def _manifest_fields(run: CurationRun, stats: SplitStats, selection: Selection, split: str) -> dict[str, Any]:
    threshold, rules = run.config.curation.near_duplicates.threshold, run.config.curation.custom_rules
    banding = banding_for(threshold) if threshold else None
    return {
        "sources": {source.name: stats.kept[source.name] for source in run.sources},
        "figures": stats.dialogues.to_manifest() | selection.characters[split].to_manifest(),
        "near_duplicates": banding
        and {
            "similarity": threshold,
            "bands": banding.bands,
            "rows": banding.rows,
            "caught": {str(level): round(banding.recall(level), 3) for level in (0.5, 0.6, 0.7, 0.8, 0.9)},
        },
        **({"custom_rules": {rule.name: stats.broken[rule.name] for rule in rules}} if rules else {}),
        **run.manifest_fields,
    }


def _write(
    run: CurationRun, duplicates: Any, verdicts: Verdicts, thresholds: list[int | None], over: Any, unit: Row
) -> dict[str, Any]:
    rows, filtered = run.dialogues(unit), run.filtered.read(run.name(unit))
    dialogues, characters = filtered["dialogue"].to_numpy(), filtered["character"].to_numpy()
    assert [f"{dialogue:016x}" for dialogue in dialogues.tolist()] == rows["dialogue_id"].to_pylist()
    reasons, found = (np.array(filtered[name].to_pylist(), object) for name in ("reason", "found"))
    dropped, kept = ray.get(duplicates)
    duplicate = contained(dialogues, dropped)
    found[duplicate] = [f"near {id_:016x}" for id_ in kept[np.searchsorted(dropped, dialogues[duplicate])].tolist()]
    reasons[duplicate & _accepted(reasons)] = "near_duplicate"
    judged = verdicts.read(unit["source"], run.name(unit))
    for position, dialogue in enumerate(dialogues.tolist()):
        if dialogue in judged and (reject := verdicts.reject(judged[dialogue])):
            reasons[position], found[position] = reject.reason, reject.detail
    later_reasons = {
        "over_character_limit": contained(dialogues, ray.get(over)),
        "over_mixture_quota": ~in_mixture(run, dialogues, thresholds[unit["source"]]),
    }
    for reason, holds in later_reasons.items():
        reasons[holds & _accepted(reasons)] = reason
    validation = in_validation(characters, run.config.seed, run.config.curation.validation_fraction)
    languages = filtered["language"].to_pylist()
    stats = {}
    for split, in_split in zip(SPLITS, (~validation, validation), strict=True):
        positions = np.flatnonzero(in_split)
        if len(positions):
            run.tables[split].write_arrow(
                run.name(unit), _examples(rows, positions, reasons, found, split, run.config.safety)
            )
        stats[split] = _split_stats(run, unit, rows, np.flatnonzero(in_split & _accepted(reasons)), languages)
        stats[split].counts = _counts(reasons[positions].tolist())
        stats[split].broken.update(map(broken_rule, found[positions][reasons[positions] == CUSTOM_RULE]))
        for dialogue in dialogues[positions].tolist():
            if dialogue in judged:
                stats[split].verdicts.add(judged[dialogue])
    return {"stats": pickle.dumps(stats)}


def _accepted(reasons: np.ndarray) -> np.ndarray:
    return np.array([reason is None for reason in reasons], bool)


def _counts(reasons: list[str | None]) -> Counts:
    counted = Counter(reasons)
    accepted = counted.pop(None, 0)
    return Counts(accepted, {str(reason): rows for reason, rows in sorted(counted.items(), key=str)})


def _split_stats(run: CurationRun, unit: Row, rows: pa.Table, kept: np.ndarray, languages: list[str]) -> SplitStats:
    stats, figures = DatasetStats(), ReplyFigures()
    columns = rows.select(["dialogue_id", "messages", "output_tokens"]).take(kept).to_pylist()
    for position, row in zip(kept.tolist(), columns, strict=True):
        replies = [m["content"] for m in row["messages"] if m["role"] == "assistant"]
        stats.add([word_hashes(reply) for reply in replies], row["output_tokens"] or 0, languages[position])
        figures.add(int(row["dialogue_id"], 16), replies, languages[position])
    kept_rows = Counter({run.sources[unit["source"]].name: len(kept)})
    return SplitStats(kept=kept_rows, dialogues=stats, replies=figures)


def _examples(
    rows: pa.Table, positions: np.ndarray, reasons: np.ndarray, found: np.ndarray, split: str, safety: Safety
) -> pa.Table:
    """Return the rows of one split; a rejected one has what was found and its replies in `detail`, nothing else.

    Personal data are not passed on: the `detail` of their rows has only what was found, masked, and thoughts that hold
    some are left out.
    """
    rows, reasons, found = rows.take(positions), reasons[positions], found[positions]
    accepted = pa.array(_accepted(reasons))
    added = {
        "split": pa.array([split] * rows.num_rows),
        "thoughts": pa.array([_safe(thoughts, safety) for thoughts in rows["thoughts"].to_pylist()], _TEXTS),
        "status": pa.array(["ok" if reason is None else "rejected" for reason in reasons]),
        "reason": pa.array(reasons.tolist(), pa.string()),
        "detail": pa.array(
            [
                None if reason is None else what if reason == PERSONAL_DATA else _detail(what, messages)
                for reason, what, messages in zip(reasons, found, rows["messages"].to_pylist(), strict=True)
            ],
            pa.string(),
        ),
    }
    columns = {name: added[name] if name in added else rows[name] for name in EXAMPLES.names}
    texts = {name: pa.nulls(rows.num_rows, EXAMPLES.field(name).type) for name in ("messages", "thoughts")}
    kept = pa.table(columns, schema=EXAMPLES).filter(accepted)
    rejected = pa.table(columns | texts, schema=EXAMPLES).filter(pc.invert(accepted))
    return pa.concat_tables([kept, rejected])


def _safe(thoughts: list[str] | None, safety: Safety) -> list[str] | None:
    held = any(find_personal_data(text, safety.personal_data, safety.phone_regions) for text in thoughts or [])
    return None if held else thoughts


def _detail(found: str | None, messages: list[dict[str, str]]) -> str:
    replies = [m["content"] for m in messages if m["role"] == "assistant"]
    return shorten("\n\n".join([*([found] if found else []), *replies]), DETAIL_CHARACTERS)

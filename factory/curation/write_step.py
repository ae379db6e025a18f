"""Verdicts and choices to the curated tables, each row once, with the figures of what they hold."""

import pickle
from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import ray

from factory.config import PERSONAL_DATA
from factory.curation.dataset_stats import DatasetStats
from factory.curation.filter_step import FilterResult
from factory.curation.minhash import banding_for
from factory.curation.run import SCRATCH, Run
from factory.curation.sampling import SPLITS, in_validation
from factory.curation.select_step import Selected, within
from factory.errors import InputError
from factory.records import Counts
from factory.runtime import metrics
from factory.runtime.progress import Progress
from factory.runtime.ray_session import dataset_of, iter_rows
from factory.storage import file_io
from factory.storage.manifest import build_manifest
from factory.storage.rows import DETAIL_CHARACTERS, Row
from factory.storage.schemas import EXAMPLES
from factory.text.ngrams import contained, word_hashes
from factory.text.normalize import shorten


@dataclass
class Written:
    """What stands in some shards of one split."""

    counts: Counts = field(default_factory=Counts)
    kept: Counter[str] = field(default_factory=Counter)
    """Accepted dialogues by source."""
    figures: DatasetStats = field(default_factory=DatasetStats)

    def __add__(self, other: "Written") -> "Written":
        return Written(self.counts + other.counts, self.kept + other.kept, self.figures + other.figures)


def write_curated(run: Run, examined: FilterResult, twins: Any, selected: Selected, progress: Progress) -> None:
    """Write all shards and, when every dialogue is in one of them, the manifests.

    Raises:
        InputError: no dialogue is left to train on.
    """
    written = {split: Written() for split in SPLITS}
    parts = dataset_of(examined.units).map(partial(_write, run, twins, selected.cutoffs, selected.over), num_cpus=0.5)
    for row in iter_rows(parts):
        for split, part in pickle.loads(row["written"]).items():
            written[split] += part
            metrics.count(run.tables[split].name, part.counts)
    _check_some(run, written)
    everything = sum((part.counts for part in written.values()), Counts())
    manifests = []
    for split, other in zip(SPLITS, reversed(SPLITS), strict=True):
        rows = run.rows - examined.entered[other]
        run.tables[split].check_complete(written[split].counts, rows)
        timing = progress.timing(everything)
        told = _told(run, written[split], selected, split)
        name = run.tables[split].name
        manifests.append(build_manifest(name, rows, written[split].counts, timing, run.fingerprint, **told))
    for table, manifest in zip(run.tables.values(), manifests, strict=True):
        table.finish(manifest, repeatable=True)
        progress.done(manifest)
    if run.config.curation.validation_fraction and not written["validation"].counts.ok:
        progress.say("curated/validation: has no dialogues; raise curation.validation_fraction to have some")
    file_io.delete_folder(file_io.join(run.config.output, SCRATCH))


def _check_some(run: Run, written: dict[str, Written]) -> None:
    train, validation = (written[split].counts for split in SPLITS)
    if train.ok:
        return
    if validation.ok:
        raise InputError(
            f"curated/train: all {validation.ok} good dialogues are of validation characters; "
            "lower curation.validation_fraction or give more characters"
        )
    reasons = ", ".join(f"{reason} {rows}" for reason, rows in (train + validation).rejected.items())
    raise InputError(
        f"curated: none of {run.rows} dialogues is good ({reasons}); loosen curation.quality, "
        f"or see in {run.tables['train'].path} what each was rejected for"
    )


def _told(run: Run, written: Written, selected: Selected, split: str) -> dict[str, Any]:
    similarity = run.config.curation.near_duplicates.threshold
    banding = banding_for(similarity) if similarity else None
    return {
        "sources": {source.name: written.kept[source.name] for source in run.sources},
        "figures": written.figures.told() | selected.casts[split].told(),
        "near_duplicates": banding
        and {
            "similarity": similarity,
            "bands": banding.bands,
            "rows": banding.rows,
            "caught": {str(level): round(banding.caught(level), 3) for level in (0.5, 0.6, 0.7, 0.8, 0.9)},
        },
        **run.against,
    }


def _write(run: Run, twins: Any, cutoffs: list[int | None], over: Any, unit: Row) -> dict[str, Any]:
    rows, verdicts = run.dialogues(unit), run.verdicts.read(run.name(unit))
    dialogues, characters = verdicts["dialogue"].to_numpy(), verdicts["character"].to_numpy()
    assert [f"{dialogue:016x}" for dialogue in dialogues.tolist()] == rows["dialogue_id"].to_pylist()
    reasons, found = (np.array(verdicts[name].to_pylist(), object) for name in ("reason", "found"))
    goes, stays = ray.get(twins)
    again = contained(dialogues, goes)
    found[again] = [f"near {keeper:016x}" for keeper in stays[np.searchsorted(goes, dialogues[again])].tolist()]
    later_reasons = {
        "near_duplicate": again,
        "over_character_limit": contained(dialogues, ray.get(over)),
        "over_mixture_quota": ~within(run, dialogues, cutoffs[unit["source"]]),
    }
    for reason, holds in later_reasons.items():
        reasons[holds & _good(reasons)] = reason
    later = in_validation(characters, run.config.seed, run.config.curation.validation_fraction)
    languages = verdicts["language"].to_pylist()
    written = {}
    for split, mine in zip(SPLITS, (~later, later), strict=True):
        places = np.flatnonzero(mine)
        if len(places):
            run.tables[split].write_arrow(run.name(unit), _examples(rows, places, reasons, found, split))
        written[split] = _count(run, unit, rows, np.flatnonzero(mine & _good(reasons)), languages)
        written[split].counts = _counts(reasons[places].tolist())
    return {"written": pickle.dumps(written)}


def _good(reasons: np.ndarray) -> np.ndarray:
    return np.array([reason is None for reason in reasons], bool)


def _counts(reasons: list[str | None]) -> Counts:
    counted = Counter(reasons)
    good = counted.pop(None, 0)
    return Counts(good, {str(reason): rows for reason, rows in sorted(counted.items(), key=str)})


def _count(run: Run, unit: Row, rows: pa.Table, good: np.ndarray, languages: list[str]) -> Written:
    figures = DatasetStats()
    for place, row in zip(
        good.tolist(), rows.select(["messages", "output_tokens"]).take(good).to_pylist(), strict=True
    ):
        replies = [word_hashes(m["content"]) for m in row["messages"] if m["role"] == "assistant"]
        figures.add(replies, row["output_tokens"] or 0, languages[place])
    return Written(kept=Counter({run.sources[unit["source"]].name: len(good)}), figures=figures)


def _examples(rows: pa.Table, places: np.ndarray, reasons: np.ndarray, found: np.ndarray, split: str) -> pa.Table:
    """The rows of one split; a rejected one has what was found and its replies in `detail`, no messages.

    Personal data are not handed on: their rows have what was found alone.
    """
    rows, reasons, found = rows.take(places), reasons[places], found[places]
    good = pa.array(_good(reasons))
    told = {
        "split": pa.array([split] * rows.num_rows),
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
    columns = {name: told[name] if name in told else rows[name] for name in EXAMPLES.names}
    silent = columns | {"messages": pa.nulls(rows.num_rows, EXAMPLES.field("messages").type)}
    accepted = pa.table(columns, schema=EXAMPLES).filter(good)
    refused = pa.table(silent, schema=EXAMPLES).filter(pc.invert(good))
    return pa.concat_tables([accepted, refused])


def _detail(found: str | None, messages: list[dict[str, str]]) -> str:
    replies = [m["content"] for m in messages if m["role"] == "assistant"]
    return shorten("\n\n".join([*([found] if found else []), *replies]), DETAIL_CHARACTERS)

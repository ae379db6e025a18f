"""What a judge reads: the dialogues that passed the rules and are no near-duplicates, with what they were made of."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import ray

from factory.config import RunConfig
from factory.curation.curation_inputs import CurationInputs, DialogueSource
from factory.curation.curation_run import CurationRun
from factory.curation.filter_step import FilterResult
from factory.curation.sampling import hash_ranks
from factory.records import DialogueToJudge
from factory.run_output import layout
from factory.runtime.ray_session import IO_TASK_CPUS, dataset_of, iter_rows
from factory.storage.rows import Row
from factory.storage.schemas import record_schema
from factory.storage.tables import Table, compute_fingerprint
from factory.text.ngrams import contained

WORK = record_schema(DialogueToJudge)


@dataclass(frozen=True)
class JudgeWork(Table):
    """The dialogues of one source that a judge scores, a shard per unit; they are put together when they are read."""

    fingerprint: str
    rows: Mapping[str, int]
    """By shard; units without such dialogues have none."""
    reader: Callable[[str], pa.Table] | None = None

    def manifest(self) -> dict[str, Any] | None:
        """Return the counts, and a fingerprint of what decides which dialogues these are."""
        rows = sum(self.rows.values())
        return {"fingerprint": self.fingerprint, "ok": rows, "rows_in": rows}

    def shards(self) -> list[str]:
        """Return the names of the units."""
        return sorted(self.rows)

    def read(self, shard: str, columns: list[str] | None = None) -> pa.Table:
        """Return the dialogues of a unit, those of a character together."""
        assert self.reader is not None, "a rehearsal reads nothing"
        return self.reader(shard)


def planned_work(config: RunConfig, inputs: CurationInputs) -> dict[Table, Table]:
    """Return the tables of verdicts with the work of each before its dialogues are known; none without a judge."""
    tables, fingerprint = judged_tables(config, inputs.sources), _fingerprint(config, inputs.passed)
    return {table: JudgeWork(config.output, table.name, fingerprint, {}) for table in tables.values()}


def find_work(run: CurationRun, filtered: FilterResult, duplicates: Any) -> dict[Table, Table]:
    """Return the tables of verdicts with the dialogues of each; none without a judge.

    Args:
        run: the run.
        filtered: the units and their filter results.
        duplicates: a reference to the near-duplicates, which nobody judges.
    """
    tables = judged_tables(run.config, run.sources)
    units = {run.name(unit): unit for unit in filtered.units if unit["source"] in tables}
    rows: dict[int, dict[str, int]] = {number: {} for number in tables}
    if units:
        counted = dataset_of(list(units.values())).map(partial(_count, run, duplicates), num_cpus=IO_TASK_CPUS)
        for row in iter_rows(counted):
            if row["rows"]:
                rows[row["source"]][row["name"]] = row["rows"]
    work: dict[Table, Table] = {}
    fingerprint = _fingerprint(run.config, run.passed)
    for number, table in tables.items():
        reader = partial(_read, run, duplicates, {name: units[name] for name in rows[number]})
        work[table] = JudgeWork(run.config.output, table.name, fingerprint, rows[number], reader)
    return work


def _fingerprint(config: RunConfig, passed: str) -> str:
    """Return a fingerprint of which dialogues are judged; thresholds are not part of it."""
    return compute_fingerprint({"passed": passed, "sample": config.curation.judge and config.curation.judge.sample})


def judged_tables(config: RunConfig, sources: Sequence[DialogueSource]) -> dict[int, Table]:
    """Return the table of verdicts of each judged source, by the number of the source; none without a judge."""
    rule, tables = config.curation.judge, {}
    for number, source in enumerate(sources):
        if rule and source.strategy in rule.on:
            parts = layout.DIALOGUES.parts(source.dialogues.name) or {}
            tables[number] = layout.JUDGED.table(config.output, **parts)
    return tables


def _judged(run: CurationRun, duplicates: Any, unit: Row) -> np.ndarray:
    """Return a mask of the dialogues of a unit that a judge reads."""
    filtered = run.filtered.read(run.name(unit), ["dialogue", "reason"])
    dialogues = filtered["dialogue"].to_numpy()
    judged = filtered["reason"].is_null().to_numpy() & ~contained(dialogues, ray.get(duplicates)[0])
    rule = run.config.curation.judge
    if rule and rule.sample < 1:
        judged &= hash_ranks(dialogues, run.config.seed, "judge") < np.uint64(int(rule.sample * 2**64))
    return np.asarray(judged)


def _count(run: CurationRun, duplicates: Any, unit: Row) -> dict[str, Any]:
    rows = int(_judged(run, duplicates, unit).sum())
    return {"source": unit["source"], "name": run.name(unit), "rows": rows}


def _read(run: CurationRun, duplicates: Any, units: Mapping[str, Row], shard: str) -> pa.Table:
    unit = units[shard]
    assignments = {(row["instruction_id"], row["character_id"]): row for row in run.assignments(unit).to_pylist()}
    dialogues = run.dialogues(unit).filter(pa.array(_judged(run, duplicates, unit))).to_pylist()
    rows = [_to_judge(row, assignments[row["instruction_id"], row["character_id"]]) for row in dialogues]
    return pa.Table.from_pylist(rows, schema=WORK).sort_by("character_id")


def _to_judge(dialogue: Row, assignment: Row) -> Row:
    references = [turn["content"] for turn in assignment["messages"] if turn["role"] == "assistant"]
    return {
        **{name: dialogue[name] for name in ("dialogue_id", "character_id", "strategy", "corpus")},
        "persona": assignment["persona"],
        "profile": assignment["profile"],
        "messages": [turn for turn in dialogue["messages"] if turn["role"] != "system"],
        "references": references if dialogue["strategy"] == "rewrite" else [],
    }

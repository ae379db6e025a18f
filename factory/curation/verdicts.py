"""What a judge's verdicts mean for the curated set: which dialogues they reject, and what the manifests count."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from factory.config import AXES, JUDGED_REASONS, JudgeRule
from factory.curation.curation_run import CurationRun
from factory.curation.judge_work import judged_tables
from factory.records import Reject
from factory.storage.rows import Row
from factory.storage.tables import Table

FAILED = "judge_failed"
COLUMNS = ["dialogue_id", "status", "detail", "has_room", "reasoning", *(f"{axis}_score" for axis in AXES)]


@dataclass(frozen=True)
class Verdicts:
    """A judge's verdicts, and the scores that a dialogue needs.

    `about` is what the manifests record of the judge, and `shards` are those that each source has; both are empty
    without a judge.
    """

    about: Mapping[str, Any]
    thresholds: Mapping[str, int]
    rejects_failed: bool
    tables: Mapping[int, Table]
    shards: Mapping[int, frozenset[str]]

    def read(self, source: int, shard: str) -> dict[int, Row]:
        """Return the verdicts on a unit of a source by the numbers of the dialogues.

        Raises:
            DamagedError: the shard is not what was written.
        """
        if shard not in self.shards.get(source, ()):
            return {}
        return {int(row["dialogue_id"], 16): row for row in self.tables[source].read(shard, COLUMNS).to_pylist()}

    def rejected(self, source: int, shard: str) -> np.ndarray:
        """Return the sorted numbers of the dialogues of a unit that are rejected, uint64 of shape (rows,)."""
        found = [number for number, row in self.read(source, shard).items() if self.reject(row)]
        return np.sort(np.array(found, np.uint64))

    def reject(self, verdict: Row) -> Reject | None:
        """Return why a dialogue is rejected, by the first score that is too low; None if it passes."""
        if verdict["status"] != "ok":
            return Reject(FAILED, verdict["detail"] or "") if self.rejects_failed else None
        for axis in AXES:
            counts = axis != "voice" or verdict["has_room"]
            if counts and verdict[f"{axis}_score"] < self.thresholds[axis]:
                scores = ", ".join(f"{name} {verdict[f'{name}_score']}" for name in AXES)
                return Reject(JUDGED_REASONS[axis], f"{scores}: {' '.join(verdict['reasoning'].split())}")
        return None


def verdicts_of(run: CurationRun, about: Mapping[str, Any]) -> Verdicts:
    """Return the verdicts of a run, whose tables are finished; `about` is what the manifests record of the judge."""
    rule: JudgeRule | None = run.config.curation.judge
    tables = judged_tables(run.config, run.sources)
    return Verdicts(
        about,
        {axis: getattr(rule, axis) for axis in AXES} if rule else {},
        rule is not None and rule.unreadable == "reject",
        tables,
        {number: frozenset(table.shards()) for number, table in tables.items()},
    )


@dataclass
class VerdictStats:
    """What a judge said about dialogues: how many it scored, and how often it gave which score."""

    judged: int = 0
    failed: int = 0
    without_room: int = 0
    scores: dict[str, Counter[int]] = field(default_factory=lambda: {axis: Counter() for axis in AXES})

    def add(self, verdict: Row) -> None:
        """Count a verdict."""
        self.judged += 1
        if verdict["status"] != "ok":
            self.failed += 1
            return
        self.without_room += not verdict["has_room"]
        for axis in AXES:
            self.scores[axis][verdict[f"{axis}_score"]] += 1

    def __add__(self, other: "VerdictStats") -> "VerdictStats":
        scores = {axis: self.scores[axis] + other.scores[axis] for axis in AXES}
        counts = (self.judged + other.judged, self.failed + other.failed, self.without_room + other.without_room)
        return VerdictStats(*counts, scores)

    def to_manifest(self) -> dict[str, Any]:
        """Return the counts for a manifest, for each thing the dialogues by score."""
        scores = {axis: {str(score): counts[score] for score in range(1, 6)} for axis, counts in self.scores.items()}
        return {"judged": self.judged, "failed": self.failed, "without_room": self.without_room, "scores": scores}

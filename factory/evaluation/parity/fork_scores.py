"""Verdicts on blocks to scores as the paper's runner counts them: a call that failed counts as 0."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from factory.config import RunConfig
from factory.evaluation.parity.fork_rules import call_score
from factory.evaluation.scoring.scores_schema import ForkCount, ForkScore
from factory.personagym import TASKS
from factory.run_output import layout
from factory.storage.rows import Row
from factory.storage.tables import Table


@dataclass
class CallScores:
    """The scores of a judge's calls about one candidate, summed by persona and task."""

    sums: dict[str, list[float]] = field(default_factory=dict)
    """By persona, in the order of TASKS."""
    calls: dict[str, list[int]] = field(default_factory=dict)
    zeros: int = 0
    """Calls that count as 0."""

    def add(self, rows: Sequence[Row]) -> None:
        """Add verdicts on blocks, rejected ones included."""
        numbers = {task: number for number, task in enumerate(TASKS)}
        for row in rows:
            score = call_score(row["counted"]) if row["status"] == "ok" else 0.0
            persona, number = row["persona_id"], numbers[row["task"]]
            self.sums.setdefault(persona, [0.0] * len(TASKS))[number] += score
            self.calls.setdefault(persona, [0] * len(TASKS))[number] += 1
            self.zeros += not score

    def count(self) -> ForkCount:
        """Return the mean and the population standard deviation over personas of each task, and of their mean."""
        sums, calls = (np.array([by[persona] for persona in self.sums], float) for by in (self.sums, self.calls))
        means = sums / calls
        scores = [*means.T, means.mean(axis=1)]
        return ForkCount(
            scores={
                name: ForkScore(mean=float(each.mean()), std=float(each.std()))
                for name, each in zip([*TASKS, "PScore"], scores, strict=True)
            },
            personas=len(means),
            calls=int(calls.sum()),
            zeros=self.zeros,
        )


def fork_counts(config: RunConfig) -> dict[str, dict[str, ForkCount]]:
    """Return each candidate's scores by each judge, from the finished verdicts; nothing without parity."""
    evaluation = config.evaluation
    if not evaluation.parity:
        return {}
    return {
        candidate.name: {
            judge.name: _count(layout.BLOCK_VERDICTS.table(config.output, candidate=candidate.name, judge=judge.name))
            for judge in evaluation.judges
        }
        for candidate in evaluation.candidates
    }


def _count(verdicts: Table) -> ForkCount:
    scores = CallScores()
    for shard in verdicts.shards():
        scores.add(verdicts.read(shard, ["persona_id", "task", "status", "counted"]).to_pylist())
    return scores.count()

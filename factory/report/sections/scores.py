"""Scores as `scores.json` has them, beside the paper's; and the best and worst answers with the judges' reasons."""

import heapq
import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from factory.personagym import TASKS
from factory.report.excerpts import Mask, Room, clipped
from factory.report.row_sample import matching, rank
from factory.run_output.folder import Folder, Found

PSCORE = "PScore"
MEAN = "all"
"""In place of a judge's name: the mean over the judges, as in `scores.json`."""
EXTREMES = 6
"""So many of the best and as many of the worst answers of each candidate."""
ANSWERS_BYTES = 2_500_000
"""The most that all of them take of the page."""


class PaperRow(Protocol):
    """A row of the paper's tables: mean and standard deviation by task."""

    @property
    def model(self) -> str: ...
    @property
    def scores(self) -> Mapping[str, tuple[float, float]]: ...


Published = Callable[[Literal["light", "full"]], Sequence[PaperRow]]


def shown_scores(document: Mapping[str, Any], published: Published, note: Callable[[str], None]) -> dict[str, Any]:
    """The figures of a `scores.json`; empty where there are none.

    Args:
        document: its content.
        published: the paper's rows of a protocol.
        note: takes in what is wrong with it.
    """
    if not document:
        return {}
    try:
        return _shown(document, published)
    except (KeyError, TypeError, AttributeError, ValueError) as problem:
        note(f"evaluation/scores.json: is not as this version writes it ({type(problem).__name__}: {problem})")
        return {}


def _shown(document: Mapping[str, Any], published: Published) -> dict[str, Any]:
    tasks = [*document["tasks"], PSCORE]
    papers = published("light" if document["protocol"] == "light" else "full")
    several = len(document["judges"]) > 1
    return {
        "protocol": document["protocol"],
        "benchmark": {name: document["benchmark"][name] for name in ("name", "personas", "questions")},
        "tasks": [{"name": task, "short": TASKS.get(task, task)} for task in tasks],
        "judges": [{name: judge[name] for name in ("name", "model", "kind", "family")} for judge in document["judges"]],
        "candidates": [_candidate(one, document["tasks"], several) for one in document["candidates"]],
        "paper": [{"model": one.model, "cells": [list(one.scores[task]) for task in tasks if task in one.scores]}
                  for one in papers],
        "comparable": bool(document["published"]),
        "agreement": [[TASKS.get(task, task), alpha] for task, alpha in document["agreement"].items()],
        "comparisons": [
            {"a": one["a"], "b": one["b"], "judge": one["judge"], "results": list(one["results"])}
            for one in document["comparisons"]
        ],
        "warnings": [str(one) for one in document.get("warnings") or []],
    }  # fmt: skip


def _candidate(one: Mapping[str, Any], tasks: Sequence[str], several: bool) -> dict[str, Any]:
    by = ({MEAN: one["scores"]} if several else {}) | dict(one["by_judge"])
    return {
        "name": one["name"],
        "model": one["model"],
        "told": one["condition"],
        "questions": one["questions"],
        "answered": one["answered"],
        "truncated": one["answers_truncated"],
        "words": one["answer_words_mean"],
        "general": one.get("general"),
        "by": {
            judge: {
                "cells": [*(_cell(scores["tasks"][task]) for task in tasks), _cell(scores["pscore"])],
                "personas": scores["pscore"]["personas"],
                **{name: scores[name] for name in ("judged", "failed", "marked")},
            }
            for judge, scores in by.items()
        },
    }


def _cell(score: Mapping[str, Any]) -> list[float | None]:
    return [score[name] for name in ("mean", "std", "low", "high")]


@dataclass
class Answers:
    """What the judges made of one candidate's answers."""

    candidate: str
    judged: int = 0
    counts: dict[str, Counter[int]] = field(default_factory=dict)
    """How often each judge gave each score."""
    best: list[tuple[float, int, str]] = field(default_factory=list)
    """Heaps of (score, a hash against ties, question), the worst of the best first and the other way round."""
    worst: list[tuple[float, int, str]] = field(default_factory=list)

    def add(self, question: str, scores: Mapping[str, int]) -> None:
        """Take in the judges' scores of an answer."""
        mean, tie = sum(scores.values()) / len(scores), rank(self.candidate, question)
        self.judged += 1
        for heap, value in ((self.best, mean), (self.worst, -mean)):
            heapq.heappush(heap, (value, tie, question))
            if len(heap) > EXTREMES:
                heapq.heappop(heap)

    def extremes(self) -> dict[str, list[str]]:
        """Questions by `best` and `worst`; none of them in both."""
        best = [question for *_, question in sorted(self.best, reverse=True)]
        worst = [question for *_, question in sorted(self.worst, reverse=True)]
        if self.judged < 2 * EXTREMES:
            half = -(-self.judged // 2)
            best, worst = best[:half], worst[: self.judged - half]
        return {"best": best, "worst": [one for one in worst if one not in best]}


def shown_answers(folder: Folder, mask: Mask) -> list[dict[str, Any]]:
    """The best and worst answers of each candidate, with each judge's score and reasons.

    Args:
        folder: where they are.
        mask: hides their personal data.
    """
    shown, room = [], Room(ANSWERS_BYTES)
    for found in folder.like("evaluation/[^/]+/answers"):
        candidate = found.name.split("/")[1]
        judges = {one.name.rpartition("/")[2]: one for one in folder.like(f"evaluation/{candidate}/judgments/.*")}
        made = _read_scores(folder, candidate, judges)
        rows = _answers(folder, found, judges, made, mask) if made.judged else []
        counts = {judge: [counter[score] for score in range(1, 6)] for judge, counter in made.counts.items()}
        shown.append(
            {"candidate": candidate, "judged": made.judged, "counts": counts, "answers": list(filter(room.takes, rows))}
        )
    if room.out:
        folder.note(f"answers: {room.out:,} of the best and worst are left out to keep this page small")
    return shown


def _read_scores(folder: Folder, candidate: str, judges: Mapping[str, Found]) -> Answers:
    """Read all judgments of a candidate. Judges' tables have the same files, so those of one name belong together."""
    made = Answers(candidate, counts={judge: Counter() for judge in judges})

    def named(judge: str, found: Found) -> Iterator[tuple[str, str, Any]]:
        return ((shard, judge, rows) for shard, rows in folder.read(found, ["question_id", "status", "score"]))

    files = heapq.merge(*(named(judge, found) for judge, found in judges.items()), key=lambda file: file[0])
    for _, together in itertools.groupby(files, key=lambda file: file[0]):
        scores: dict[str, dict[str, int]] = {}
        for _, judge, rows in together:
            for row in rows.to_pylist():
                if row["status"] == "ok" and row["question_id"] and row["score"] in range(1, 6):
                    scores.setdefault(row["question_id"], {})[judge] = row["score"]
                    made.counts[judge][row["score"]] += 1
        for question, by_judge in scores.items():
            made.add(question, by_judge)
    return made


def _answers(
    folder: Folder, found: Found, judges: Mapping[str, Found], made: Answers, mask: Mask
) -> list[dict[str, Any]]:
    extremes = made.extremes()
    ids = [question for questions in extremes.values() for question in questions]
    answers = matching(folder, found, "question_id", ids, ["persona", "task", "question", "answer"])
    told = {
        judge: matching(folder, one, "question_id", ids, ["score", "reasoning", "status", "detail"])
        for judge, one in judges.items()
    }
    return [
        {
            "which": which,
            "task": answers[question]["task"] or "",
            **{name: clipped(answers[question][name] or "", mask) for name in ("persona", "question", "answer")},
            "judgments": [
                {
                    "judge": judge,
                    "score": rows[question]["score"],
                    "reasoning": clipped(rows[question]["reasoning"] or rows[question]["detail"] or "", mask),
                }
                for judge, rows in told.items()
                if question in rows
            ],
        }
        for which, questions in extremes.items()
        for question in questions
        if question in answers
    ]

"""The scores of `scores.json` beside the paper's, and the best and worst answers with the judges' reasons."""

import heapq
import itertools
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from factory.evaluation.scoring.paper_scores import published
from factory.evaluation.scoring.scores_schema import MEAN
from factory.personagym import TASKS
from factory.report.excerpts import ByteBudget, Mask, excerpt
from factory.report.row_sample import find_rows, rank
from factory.run_output import layout
from factory.run_output.folder import RunFolder, RunTable

PSCORE = "PScore"
EXTREMES = 6
"""Number of best and of worst answers shown per candidate."""
ANSWERS_BYTES = 2_500_000
"""Maximum bytes of all of them on the page."""


def score_data(document: Mapping[str, Any], note: Callable[[str], None]) -> dict[str, Any]:
    """Return the figures of a `scores.json`; empty without one.

    Args:
        document: its content.
        note: receives what is wrong with it.
    """
    if not document:
        return {}
    try:
        return _read_document(document)
    except (KeyError, TypeError, AttributeError, ValueError) as problem:
        note(f"{layout.SCORES}: is not as this version writes it ({type(problem).__name__}: {problem})")
        return {}


def _read_document(document: Mapping[str, Any]) -> dict[str, Any]:
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
        "warnings": merge_warnings(map(str, document.get("warnings") or [])),
    }  # fmt: skip


def merge_warnings(warnings: Iterable[str]) -> list[str]:
    """Merge equal warnings, and those that differ only in the name of the judge."""
    groups: dict[str, list[str]] = {}
    for warning in warnings:
        found = re.match(r"judge ('[^']*') (.*)", warning, re.DOTALL)
        names = groups.setdefault(found[2] if found else warning, [])
        if found and found[1] not in names:
            names.append(found[1])
    return [
        f"{'judge' if len(names) == 1 else 'each of the judges'} {', '.join(names)} {text}" if names else text
        for text, names in groups.items()
    ]


def _candidate(one: Mapping[str, Any], tasks: Sequence[str], several: bool) -> dict[str, Any]:
    by = ({MEAN: one["scores"]} if several else {}) | dict(one["by_judge"])
    return {
        "name": one["name"],
        "model": one["model"],
        "condition": one["condition"],
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
class JudgedAnswers:
    """The judges' scores of one candidate's answers: counts, and the best and worst answers."""

    candidate: str
    judged: int = 0
    counts: dict[str, Counter[int]] = field(default_factory=dict)
    """The number of answers by score, by judge."""
    best: list[tuple[float, int, str]] = field(default_factory=list)
    """A heap of (score, a hash that breaks ties, question), the lowest first."""
    worst: list[tuple[float, int, str]] = field(default_factory=list)
    """The same with negative scores."""

    def add(self, question: str, scores: Mapping[str, int]) -> None:
        """Add the judges' scores of an answer."""
        mean, tie = sum(scores.values()) / len(scores), rank(self.candidate, question)
        self.judged += 1
        for heap, value in ((self.best, mean), (self.worst, -mean)):
            heapq.heappush(heap, (value, tie, question))
            if len(heap) > EXTREMES:
                heapq.heappop(heap)

    def extremes(self) -> dict[str, list[str]]:
        """Return the questions of the best and worst answers; none is in both."""
        best = [question for *_, question in sorted(self.best, reverse=True)]
        worst = [question for *_, question in sorted(self.worst, reverse=True)]
        if self.judged < 2 * EXTREMES:
            half = -(-self.judged // 2)
            best, worst = best[:half], worst[: self.judged - half]
        return {"best": best, "worst": [question for question in worst if question not in best]}


def answer_data(folder: RunFolder, mask: Mask) -> list[dict[str, Any]]:
    """Return the best and worst answers of each candidate, with each judge's score and reasons.

    Args:
        folder: the run's folder.
        mask: masks personal data.
    """
    shown, budget = [], ByteBudget(ANSWERS_BYTES)
    judgments = [(layout.JUDGMENTS.parts(table.name) or {}, table) for table in folder.select(layout.JUDGMENTS)]
    for table in folder.select(layout.ANSWERS):
        candidate = (layout.ANSWERS.parts(table.name) or {})["candidate"]
        judges = {parts["judge"]: judged for parts, judged in judgments if parts["candidate"] == candidate}
        scored = _read_scores(folder, candidate, judges)
        rows = _answer_rows(folder, table, judges, scored, mask) if scored.judged else []
        counts = {judge: [counter[score] for score in range(1, 6)] for judge, counter in scored.counts.items()}
        answers = list(filter(budget.fits, rows))
        shown.append({"candidate": candidate, "judged": scored.judged, "counts": counts, "answers": answers})
    if budget.dropped:
        folder.note(f"answers: {budget.dropped:,} of the best and worst are left out to keep this page small")
    return shown


def _read_scores(folder: RunFolder, candidate: str, judges: Mapping[str, RunTable]) -> JudgedAnswers:
    """Read all judgments of a candidate; the tables of the judges have the same files, which are read together."""
    judged = JudgedAnswers(candidate, counts={judge: Counter() for judge in judges})

    def read_judge(judge: str, table: RunTable) -> Iterator[tuple[str, str, Any]]:
        return ((shard, judge, rows) for shard, rows in folder.read(table, ["question_id", "status", "score"]))

    files = heapq.merge(*(read_judge(judge, table) for judge, table in judges.items()), key=lambda file: file[0])
    for _, same_shard in itertools.groupby(files, key=lambda file: file[0]):
        scores: dict[str, dict[str, int]] = {}
        for _, judge, rows in same_shard:
            for row in rows.to_pylist():
                if row["status"] == "ok" and row["question_id"] and row["score"] in range(1, 6):
                    scores.setdefault(row["question_id"], {})[judge] = row["score"]
                    judged.counts[judge][row["score"]] += 1
        for question, by_judge in scores.items():
            judged.add(question, by_judge)
    return judged


def _answer_rows(
    folder: RunFolder, table: RunTable, judges: Mapping[str, RunTable], judged: JudgedAnswers, mask: Mask
) -> list[dict[str, Any]]:
    extremes = judged.extremes()
    ids = [question for questions in extremes.values() for question in questions]
    answers = find_rows(folder, table, "question_id", ids, ["persona", "task", "question", "answer", "thoughts"])
    judgments = {
        judge: find_rows(folder, one, "question_id", ids, ["score", "reasoning", "status", "detail"])
        for judge, one in judges.items()
    }
    return [
        {
            "which": which,
            "task": answers[question]["task"] or "",
            **{name: excerpt(answers[question][name] or "", mask) for name in ("persona", "question", "answer")},
            "thoughts": "\n\n".join(excerpt(str(each), mask) for each in answers[question]["thoughts"] or []),
            "judgments": [
                {
                    "judge": judge,
                    "score": rows[question]["score"],
                    "reasoning": excerpt(rows[question]["reasoning"] or rows[question]["detail"] or "", mask),
                }
                for judge, rows in judgments.items()
                if question in rows
            ],
        }
        for which, questions in extremes.items()
        for question in questions
        if question in answers
    ]

"""The scores of `scores.json` beside the paper's, and the best and worst answers with the judges' reasons."""

import heapq
import itertools
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from pydantic import ValidationError

from factory.evaluation.scoring import score_text as text
from factory.evaluation.scoring.fork_table import fork_rows
from factory.evaluation.scoring.paper_scores import published
from factory.evaluation.scoring.pscore import PSCORE
from factory.evaluation.scoring.scores_schema import MEAN, CandidateScores, JudgeScores, Scores, TaskScore
from factory.evaluation.scoring.stratum_table import stratum_tables
from factory.personagym import TASKS
from factory.records import answer_key, question_of
from factory.report.excerpts import ByteBudget, Mask, excerpt
from factory.report.row_sample import find_rows, rank
from factory.run_output import layout
from factory.run_output.folder import RunFolder, RunTable

MAX_COMPARISONS = 300
"""Comparisons on the page."""
EXTREMES = 6
"""Number of best and of worst answers shown per candidate."""
ANSWERS_BYTES = 2_500_000
"""Maximum bytes of all of them on the page."""


def score_data(document: Mapping[str, Any], note: Callable[[str], None], name: str = layout.SCORES) -> dict[str, Any]:
    """Return the figures of a `scores.json`; empty without one.

    Args:
        document: its content.
        note: receives what is wrong with it.
        name: of its file.
    """
    if not document:
        return {}
    try:
        return _shown_scores(Scores.model_validate(document))
    except ValidationError as problem:
        first = problem.errors()[0]
        where = ".".join(map(str, first["loc"]))
        note(f"{name}: is not as this version writes it ({where}: {first['msg']}); run the evaluation again")
        return {}


def _shown_scores(document: Scores) -> dict[str, Any]:
    tasks = [*document.tasks, PSCORE]
    several = len(document.judges) > 1
    candidates = text.by_rank(document)
    return {
        "protocol": document.protocol,
        "benchmark": document.benchmark.model_dump(include={"name", "personas", "questions"}),
        "draws": document.draws,
        "ranked_by": document.ranked_by,
        "baseline": document.baseline or (candidates[0].name if candidates else None),
        "tasks": [{"name": task, "short": TASKS.get(task, task)} for task in tasks],
        "judges": [judge.model_dump() for judge in document.judges],
        "candidates": [_candidate(one, document.tasks, several) for one in candidates],
        "paper": [
            {"model": one.model, "cells": [list(one.scores[task]) for task in tasks if task in one.scores]}
            for one in (published(document.protocol) if document.published else ())
        ],
        "comparable": document.published,
        "not_comparable": document.unpublished_because,
        "fork_counts": fork_rows(document),
        "agreement": [[TASKS.get(task, task), one.model_dump()] for task, one in document.agreement.items()],
        "comparisons": [one.model_dump() for one in document.comparisons[:MAX_COMPARISONS]],
        "more_comparisons": len(document.comparisons[MAX_COMPARISONS:]),
        "families": text.families_text(document),
        "findable": text.findable_text(document.findable) if document.findable else "",
        "general": [text.general_change_text(change) for change in document.general_changes[:MAX_COMPARISONS]],
        "strata": [
            {"trait": trait, "columns": columns, "rows": rows} for trait, columns, rows in stratum_tables(document)
        ],
        "warnings": merge_warnings(document.warnings),
    }


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


def _candidate(one: CandidateScores, tasks: Sequence[str], several: bool) -> dict[str, Any]:
    by = ({MEAN: one.scores} if several else {}) | one.by_judge
    return {
        "name": one.name,
        "model": one.model,
        "condition": one.condition,
        "questions": one.questions,
        "answered": one.answered,
        "truncated": one.answers_truncated,
        "words": one.answer_words_mean,
        "rank": one.rank and [one.rank.rank, one.rank.low, one.rank.high],
        "general": one.general and one.general.model_dump(),
        "by": {
            judge: {
                "cells": [*(_cell(scores, scores.tasks[task]) for task in tasks), _cell(scores, scores.pscore)],
                "bounds": [scores.pscore.bound_low, scores.pscore.bound_high] if scores.unscored_share else None,
                "personas": scores.pscore.personas,
                "few": scores.pscore.too_few,
                **scores.model_dump(include={"judged", "failed", "marked", "blank"}),
            }
            for judge, scores in by.items()
        },
    }


def _cell(scores: JudgeScores, score: TaskScore) -> list[float | None]:
    return [None] * 4 if scores.blank else [score.mean, score.std, score.low, score.high]


@dataclass
class JudgedAnswers:
    """The judges' scores of one candidate's answers: counts, and the best and worst answers."""

    candidate: str
    judged: int = 0
    counts: dict[str, Counter[int]] = field(default_factory=dict)
    """The number of answers by score, by judge."""
    best: list[tuple[float, int, str]] = field(default_factory=list)
    """A heap of (score, a hash that breaks ties, `answer_key`), the lowest first."""
    worst: list[tuple[float, int, str]] = field(default_factory=list)
    """The same with negative scores."""

    def add(self, answer: str, scores: Mapping[str, int]) -> None:
        """Add the judges' scores of an answer."""
        mean, tie = sum(scores.values()) / len(scores), rank(self.candidate, answer)
        self.judged += 1
        for heap, value in ((self.best, mean), (self.worst, -mean)):
            heapq.heappush(heap, (value, tie, answer))
            if len(heap) > EXTREMES:
                heapq.heappop(heap)

    def extremes(self) -> dict[str, list[str]]:
        """Return the keys of the best and worst answers; none is in both."""
        best = [answer for *_, answer in sorted(self.best, reverse=True)]
        worst = [answer for *_, answer in sorted(self.worst, reverse=True)]
        if self.judged < 2 * EXTREMES:
            half = -(-self.judged // 2)
            best, worst = best[:half], worst[: self.judged - half]
        return {"best": best, "worst": [answer for answer in worst if answer not in best]}


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

    columns = ["question_id", "draw", "status", "score"]

    def read_judge(judge: str, table: RunTable) -> Iterator[tuple[str, str, Any]]:
        return ((shard, judge, rows) for shard, rows in folder.read(table, columns))

    files = heapq.merge(*(read_judge(judge, table) for judge, table in judges.items()), key=lambda file: file[0])
    for _, same_shard in itertools.groupby(files, key=lambda file: file[0]):
        scores: dict[str, dict[str, int]] = {}
        for _, judge, rows in same_shard:
            for row in rows.to_pylist():
                if row["status"] == "ok" and row["question_id"] and row["score"] in range(1, 6):
                    scores.setdefault(answer_key(row), {})[judge] = row["score"]
                    judged.counts[judge][row["score"]] += 1
        for answer, by_judge in scores.items():
            judged.add(answer, by_judge)
    return judged


def _answer_rows(
    folder: RunFolder, table: RunTable, judges: Mapping[str, RunTable], judged: JudgedAnswers, mask: Mask
) -> list[dict[str, Any]]:
    extremes = judged.extremes()
    ids = [question_of(key) for keys in extremes.values() for key in keys]
    find = partial(find_rows, folder, id_column="question_id", ids=ids, key=answer_key)
    answers = find(table, columns=["draw", "persona", "task", "question", "answer", "thoughts"])
    judgments = {
        judge: find(one, columns=["draw", "score", "reasoning", "status", "detail"]) for judge, one in judges.items()
    }
    return [
        {
            "which": which,
            "task": answers[key]["task"] or "",
            **{name: excerpt(answers[key][name] or "", mask) for name in ("persona", "question", "answer")},
            "thoughts": "\n\n".join(excerpt(str(each), mask) for each in answers[key]["thoughts"] or []),
            "judgments": [
                {
                    "judge": judge,
                    "score": rows[key]["score"],
                    "reasoning": excerpt(rows[key]["reasoning"] or rows[key]["detail"] or "", mask),
                }
                for judge, rows in judgments.items()
                if key in rows
            ],
        }
        for which, keys in extremes.items()
        for key in keys
        if key in answers
    ]

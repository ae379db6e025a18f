"""The results of a judge check: `report.json`, and a table for the terminal."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter
from rich.table import Table as Grid
from rich.text import Text

from factory.config import RunConfig
from factory.evaluation.judge_check.check_results import FOLDER, REPORT, settings_of
from factory.evaluation.judge_check.pairs import (
    ORDERED,
    Accuracy,
    JudgedPair,
    JudgeReport,
    Preferred,
    ScoreKind,
    read_pairs,
    reliability_text,
    summarize_judge,
)
from factory.evaluation.judge_check.pairwise import BETTER_FIRST, WORSE_FIRST
from factory.evaluation.scoring.proportions import Proportion
from factory.runtime.progress import Progress
from factory.storage import file_io
from factory.storage.tables import Table

NONE = "-"
SCORE_COLUMNS: Mapping[ScoreKind, str] = {"whole": "score", "expected": "expected_score"}


def scores_table(config: RunConfig, judge: str) -> Table:
    """Return the table of a judge's scores of the pairs' answers."""
    return Table(config.output, f"{FOLDER}/{judge}/scores")


def preferences_table(config: RunConfig, judge: str) -> Table:
    """Return the table of the answers that a judge prefers, in both orders of each pair."""
    return Table(config.output, f"{FOLDER}/{judge}/preferences")


@dataclass(frozen=True)
class CheckedJudge:
    """A judge in `report.json`: its model and prompts, and its results.

    `reports` has the results by whole scores and, where there are any, by expected ones. Candidates are ranked by the
    scores that `ranked_by` names: by expected ones where all judges give them. `settings` is a hash of model, prompt,
    sampling and rubrics.
    """

    judge: str
    model: str
    kind: str
    prompts: tuple[str, str]
    settings: str
    verdict: str
    ranked_by: ScoreKind
    reports: Mapping[ScoreKind, JudgeReport]


def write_report(config: RunConfig, progress: Progress) -> None:
    """Write `report.json`, and show the results of each judge by the scores that rank candidates."""
    rows = {judge.name: _accepted_rows(scores_table(config, judge.name)) for judge in config.evaluation.judges}
    all_expected = all(row["expected_score"] is not None for judged in rows.values() for row in judged)
    ranked_by: ScoreKind = "expected" if all_expected and any(rows.values()) else "whole"
    checked = [_checked_judge(config, judge, rows[judge.name], ranked_by) for judge in config.evaluation.judges]
    path = file_io.join(config.output, REPORT)
    json_bytes = TypeAdapter(list[CheckedJudge]).dump_json(checked, indent=2) + b"\n"  # NaN is null there
    file_io.write_bytes(path, json_bytes)
    progress.show(report_grid([judge.reports[ranked_by] for judge in checked], ranked_by))
    for judge in checked:
        progress.print(judge.verdict)
    progress.print(f"Report: {path}")


def _checked_judge(
    config: RunConfig, judge: Any, score_rows: Sequence[Mapping[str, Any]], ranked_by: ScoreKind
) -> CheckedJudge:
    tables = scores_table(config, judge.name), preferences_table(config, judge.name)
    preferred = {(row["pair_id"], row["order"]): row["preferred"] for row in _accepted_rows(tables[1])}
    re_asked = sum(row["attempts"] > 1 for row in score_rows)
    reports: dict[ScoreKind, JudgeReport] = {}
    for kind, column in SCORE_COLUMNS.items():
        scores = {(row["question_id"], row["candidate"]): row[column] for row in score_rows}
        if kind == "whole" or any(score is not None for score in scores.values()):
            judged = _judged_pairs(scores, preferred)
            reports[kind] = summarize_judge(judge.name, judged, config.seed, re_asked)
    score_prompt, pair_prompt = ((table.inputs() or {})["prompt"] for table in tables)
    report = reports[ranked_by]
    return CheckedJudge(
        judge=judge.name,
        model=judge.model,
        kind=judge.kind,
        prompts=(score_prompt, pair_prompt),
        settings=settings_of(tables[0]),
        verdict=reliability_text(report),
        ranked_by=ranked_by,
        reports=reports,
    )


def _judged_pairs(
    scores: Mapping[tuple[str, str], float | None], preferred: Mapping[tuple[str, str], Preferred]
) -> list[JudgedPair]:
    return [
        JudgedPair(
            pair,
            better_score=scores.get((pair.id, "better")),
            worse_score=scores.get((pair.id, "worse")),
            first=preferred.get((pair.id, BETTER_FIRST)),
            second=preferred.get((pair.id, WORSE_FIRST)),
        )
        for pair in read_pairs()
    ]


def _accepted_rows(table: Table) -> list[dict[str, Any]]:
    rows = [row for shard in table.shards() for row in table.read(shard).to_pylist()]
    return [row for row in rows if row["status"] == "ok"]


def report_grid(reports: Sequence[JudgeReport], ranked_by: ScoreKind) -> Grid:
    """Return the results of all judges, for a terminal of 140 columns."""
    caption = (
        f"By {ranked_by} scores. Intervals are of 95 %; chance is 50 %. {', '.join(ORDERED).capitalize()}: % right by "
        "score / by comparison. Filler, attack: how much filler, and words that ask for a 5, raise the score of an "
        "otherwise equal answer. Paraphrase: how much other words change it, up or down."
    )
    grid = Grid(title="Judges", title_justify="left", caption=caption, caption_justify="left", box=None)
    grid.padding = (0, 2, 0, 0)
    grid.add_column("judge", overflow="fold")
    requests = max(4 * report.pairs for report in reports)
    for name in (
        *("right by\nscore", "by com-\nparison", *ORDERED, "change with\nthe order"),
        *("filler", "attack", "para-\nphrase", f"failed\nof {requests}"),
    ):
        grid.add_column(name, justify="right", no_wrap=True)
    for report in reports:
        row = [
            report.judge,
            _with_interval(report.ordered.pointwise),
            _with_interval(report.ordered.pairwise),
            *(_both(report.by_kind[kind]) for kind in ORDERED),
            _percent(report.turned),
            _number(report.length_bias.difference, "+z.2f"),
            _number(report.attack.difference, "+z.2f"),
            _number(report.paraphrase.size, ".2f"),
            str(report.failed_scores + report.failed_verdicts),
        ]
        grid.add_row(*map(Text, row))  # an interval has [brackets]
    return grid


def _with_interval(share: Proportion) -> str:
    return f"{_percent(share)} [{100 * share.low:.0f}, {100 * share.high:.0f}]" if share.of else NONE


def _both(accuracy: Accuracy) -> str:
    return " / ".join(_percent(share).removesuffix(" %") for share in (accuracy.pointwise, accuracy.pairwise))


def _number(value: float, form: str) -> str:
    return NONE if math.isnan(value) else format(value, form)


def _percent(share: Proportion) -> str:
    return f"{100 * share.value:.0f} %" if share.of else NONE

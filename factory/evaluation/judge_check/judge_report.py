"""The results of a judge check: `report.json`, and a table for the terminal."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter
from rich.table import Table as Grid
from rich.text import Text

from factory.config import RunConfig
from factory.evaluation.judge_check.pairs import (
    ORDERED,
    Accuracy,
    JudgedPair,
    JudgeReport,
    LengthBias,
    read_pairs,
    reliability_text,
    summarize_judge,
)
from factory.evaluation.judge_check.pairwise import BETTER_FIRST, WORSE_FIRST
from factory.evaluation.scoring.proportions import Proportion
from factory.runtime.progress import Progress
from factory.storage import file_io
from factory.storage.tables import Table

FOLDER = "judge-check"
NONE = "-"


def scores_table(config: RunConfig, judge: str) -> Table:
    """Return the table of a judge's scores of the pairs' answers."""
    return Table(config.output, f"{FOLDER}/{judge}/scores")


def preferences_table(config: RunConfig, judge: str) -> Table:
    """Return the table of the answers that a judge prefers, in both orders of each pair."""
    return Table(config.output, f"{FOLDER}/{judge}/preferences")


@dataclass(frozen=True)
class CheckedJudge:
    """A judge in `report.json`: its model and prompts, and its results."""

    model: str
    kind: str
    prompts: tuple[str, str]
    verdict: str
    report: JudgeReport


def write_report(config: RunConfig, progress: Progress) -> None:
    """Write `report.json`, and show the results of each judge."""
    checked = [_checked_judge(config, judge) for judge in config.evaluation.judges]
    path = file_io.join(config.output, FOLDER, "report.json")
    json_bytes = TypeAdapter(list[CheckedJudge]).dump_json(checked, indent=2) + b"\n"  # NaN is null there
    file_io.write_bytes(path, json_bytes)
    progress.show(report_grid([judge.report for judge in checked]))
    for judge in checked:
        progress.print(judge.verdict)
    progress.print(f"Report: {path}")


def _checked_judge(config: RunConfig, judge: Any) -> CheckedJudge:
    tables = scores_table(config, judge.name), preferences_table(config, judge.name)
    score_rows, preference_rows = map(_accepted_rows, tables)
    scores = {
        (row["question_id"], row["candidate"]): row["score"] if row["expected_score"] is None else row["expected_score"]
        for row in score_rows
    }
    preferred = {(row["pair_id"], row["order"]): row["preferred"] for row in preference_rows}
    judged = [
        JudgedPair(
            pair,
            better_score=scores.get((pair.id, "better")),
            worse_score=scores.get((pair.id, "worse")),
            first=preferred.get((pair.id, BETTER_FIRST)),
            second=preferred.get((pair.id, WORSE_FIRST)),
        )
        for pair in read_pairs()
    ]
    report = summarize_judge(judge.name, judged, config.seed)
    score_prompt, pair_prompt = ((table.inputs() or {})["prompt"] for table in tables)
    return CheckedJudge(judge.model, judge.kind, (score_prompt, pair_prompt), reliability_text(report), report)


def _accepted_rows(table: Table) -> list[dict[str, Any]]:
    rows = [row for shard in table.shards() for row in table.read(shard).to_pylist()]
    return [row for row in rows if row["status"] == "ok"]


def report_grid(reports: Sequence[JudgeReport]) -> Grid:
    """Return the results of all judges, for a terminal of 140 columns."""
    caption = (
        f"Intervals are of 95 %; chance is 50 %. {', '.join(ORDERED).capitalize()}: % right by score / by "
        "comparison. Filler: how much it raises the score of an otherwise equal answer."
    )
    grid = Grid(title="Judges", title_justify="left", caption=caption, caption_justify="left", box=None)
    grid.padding = (0, 2, 0, 0)
    grid.add_column("judge", overflow="fold")
    requests = max(4 * report.pairs for report in reports)
    for name in (
        *("right by\nscore", "right by\ncomparison", *ORDERED, "change with\nthe order"),
        *("filler\nscores", "filler is\npreferred", f"failed\nof {requests}"),
    ):
        grid.add_column(name, justify="right", no_wrap=True)
    for report in reports:
        row = [
            report.judge,
            _with_interval(report.ordered.pointwise),
            _with_interval(report.ordered.pairwise),
            *(_both(report.by_kind[kind]) for kind in ORDERED),
            _percent(report.turned),
            _difference(report.length_bias),
            _percent(report.length_bias.preferred),
            str(report.failed_scores + report.failed_verdicts),
        ]
        grid.add_row(*map(Text, row))  # an interval has [brackets]
    return grid


def _with_interval(share: Proportion) -> str:
    return f"{_percent(share)} [{100 * share.low:.0f}, {100 * share.high:.0f}]" if share.of else NONE


def _both(accuracy: Accuracy) -> str:
    return " / ".join(_percent(share).removesuffix(" %") for share in (accuracy.pointwise, accuracy.pairwise))


def _difference(bias: LengthBias) -> str:
    if math.isnan(bias.difference):
        return NONE
    return f"{bias.difference:+z.2f}" + ("" if math.isnan(bias.low) else f" [{bias.low:+z.2f}, {bias.high:+z.2f}]")


def _percent(share: Proportion) -> str:
    return f"{100 * share.value:.0f} %" if share.of else NONE

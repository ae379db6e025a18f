"""What the pairs tell of each judge: `report.json`, and a table for the terminal."""

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
    Judged,
    LengthBias,
    Report,
    read_pairs,
    report,
    verdict,
)
from factory.evaluation.judge_check.pairwise import BETTER_FIRST, WORSE_FIRST
from factory.evaluation.proportions import Proportion
from factory.runtime.progress import Progress
from factory.storage import file_io
from factory.storage.tables import Table

FOLDER = "judge-check"
NONE = "-"


def scores_table(config: RunConfig, judge: str) -> Table:
    """A judge's scores of the pairs' answers."""
    return Table(config.output, f"{FOLDER}/{judge}/scores")


def preferences_table(config: RunConfig, judge: str) -> Table:
    """Which answer of a pair a judge prefers, in both orders."""
    return Table(config.output, f"{FOLDER}/{judge}/preferences")


@dataclass(frozen=True)
class Checked:
    """A judge in `report.json`: how it was asked, and what the pairs tell of it."""

    model: str
    kind: str
    prompts: tuple[str, str]
    verdict: str
    report: Report


def tell(config: RunConfig, progress: Progress) -> None:
    """Write `report.json`, and show what each judge is worth."""
    checked = [_checked(config, judge) for judge in config.evaluation.judges]
    path = file_io.join(config.output, FOLDER, "report.json")
    file_io.write_bytes(path, TypeAdapter(list[Checked]).dump_json(checked, indent=2) + b"\n")  # NaN is null there
    progress.show(grid([one.report for one in checked]))
    for one in checked:
        progress.say(one.verdict)
    progress.say(f"Report: {path}")


def _checked(config: RunConfig, judge: Any) -> Checked:
    tables = scores_table(config, judge.name), preferences_table(config, judge.name)
    scores, preferences = map(_rows, tables)
    given = {
        (row["question_id"], row["candidate"]): row["score"] if row["expected_score"] is None else row["expected_score"]
        for row in scores
    }
    taken = {(row["pair_id"], row["order"]): row["preferred"] for row in preferences}
    judged = [
        Judged(
            pair,
            better_score=given.get((pair.id, "better")),
            worse_score=given.get((pair.id, "worse")),
            first=taken.get((pair.id, BETTER_FIRST)),
            second=taken.get((pair.id, WORSE_FIRST)),
        )
        for pair in read_pairs()
    ]
    found = report(judge.name, judged, config.seed)
    by_score, by_choice = ((table.inputs() or {})["prompt"] for table in tables)
    return Checked(judge.model, judge.kind, (by_score, by_choice), verdict(found), found)


def _rows(table: Table) -> list[dict[str, Any]]:
    rows = [row for shard in table.shards() for row in table.read(shard).to_pylist()]
    return [row for row in rows if row["status"] == "ok"]


def grid(reports: Sequence[Report]) -> Grid:
    """What the pairs tell of each judge, for a terminal of 140 columns."""
    told = (
        f"Intervals are of 95 %; half right is chance. {', '.join(ORDERED).capitalize()}: % right by score / by "
        "comparison. Filler: what it adds to the score of an answer that is otherwise the same."
    )
    table = Grid(title="Judges", title_justify="left", caption=told, caption_justify="left", box=None)
    table.padding = (0, 2, 0, 0)
    table.add_column("judge", overflow="fold")
    asked = {4 * one.pairs for one in reports}
    for name in (
        *("right by\nscore", "right by\ncomparison", *ORDERED, "turn with\nthe order"),
        *("filler\nscores", "filler is\npreferred", f"failed\nof {max(asked)}"),
    ):
        table.add_column(name, justify="right", no_wrap=True)
    for one in reports:
        row = [
            one.judge,
            _with_interval(one.ordered.pointwise),
            _with_interval(one.ordered.pairwise),
            *(_both(one.by_kind[kind]) for kind in ORDERED),
            _percent(one.turned),
            _difference(one.length_bias),
            _percent(one.length_bias.preferred),
            str(one.failed_scores + one.failed_verdicts),
        ]
        table.add_row(*map(Text, row))  # an interval has [brackets]
    return table


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

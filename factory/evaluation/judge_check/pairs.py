"""Whether a judge can be believed: pairs of answers whose order is known, put to it in every way.

Three kinds of pairs have a better answer. In half of each kind that one is the shorter, so a judge
that goes by length is right half of the time. In the fourth kind one answer is the other one with
filler: they are equally good, and what a judge makes of them is its pull towards length.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from factory.evaluation.scoring.proportions import Proportion, proportion
from factory.evaluation.scoring.statistics import summary
from factory.resources import RESOURCES
from factory.storage import file_io

Kind = Literal["generic", "toxic", "invented", "padded"]
Preferred = Literal["better", "worse"]

BUILT_IN = file_io.join(str(RESOURCES), "data", "judge-check.jsonl")
ORDERED: tuple[Kind, ...] = ("generic", "toxic", "invented")
"""The kinds in which one answer is better."""
NOTABLE = 0.2
"""From this share of verdicts on that turn with the order, a judge's sentence says so."""

_SAME = 1e-6
"""Expected scores that differ by less differ by rounding."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Two answers to one question; of kind `padded`, `better` is the short one and `worse` the padded one."""

    id: str
    kind: Kind
    task: str
    persona: str
    question: str
    better: str
    worse: str


@dataclass(frozen=True, slots=True)
class Judged:
    """What one judge made of one pair; None where it failed.

    `first` is the answer that it preferred when the better one stood first, `second` when it stood second.
    """

    pair: Pair
    better_score: float | None
    worse_score: float | None
    first: Preferred | None
    second: Preferred | None


@dataclass(frozen=True)
class Accuracy:
    """How often the better answer won: by the two scores, and by comparison.

    Equal scores are half a hit, and so are two verdicts that contradict each other. Pairs with a
    failure are not counted.
    """

    pointwise: Proportion
    pairwise: Proportion


@dataclass(frozen=True)
class LengthBias:
    """What filler earns: mean score of the padded answer minus the short one, with a 95 % bootstrap interval.

    `preferred` is the share of comparisons that the padded answer won; 0.5 is no bias.
    """

    difference: float
    low: float
    high: float
    preferred: Proportion


@dataclass(frozen=True)
class Report:
    """What the pairs tell of a judge.

    `turned` is the share of pairs, of all kinds, whose verdict changes with the order of the two
    answers; `first_wins` is the share of these in which the answer that stood first won both times.
    The two last counts are of `2 * pairs` scores and as many verdicts.
    """

    judge: str
    pairs: int
    ordered: Accuracy
    by_kind: Mapping[str, Accuracy]
    turned: Proportion
    first_wins: Proportion
    length_bias: LengthBias
    failed_scores: int
    failed_verdicts: int


def read_pairs(path: str = BUILT_IN) -> tuple[Pair, ...]:
    """Read the pairs, in the order of the file."""
    return tuple(Pair(**json.loads(line)) for line in file_io.read_bytes(path).decode().splitlines())


def report(judge: str, judged: Sequence[Judged], seed: int) -> Report:
    """Sum up what one judge made of the pairs.

    Args:
        judge: its name.
        judged: each pair once.
        seed: of the resampling.
    """
    kinds = {kind: [one for one in judged if one.pair.kind == kind] for kind in ORDERED}
    both = [one for one in judged if one.first and one.second]
    turned = [one for one in both if one.first != one.second]
    return Report(
        judge=judge,
        pairs=len(judged),
        ordered=_accuracy([one for some in kinds.values() for one in some]),
        by_kind={kind: _accuracy(some) for kind, some in kinds.items()},
        turned=proportion([one.first != one.second for one in both]),
        first_wins=proportion([one.first == "better" for one in turned]),
        length_bias=_length_bias([one for one in judged if one.pair.kind == "padded"], seed),
        failed_scores=sum((one.better_score is None) + (one.worse_score is None) for one in judged),
        failed_verdicts=sum((one.first is None) + (one.second is None) for one in judged),
    )


def verdict(report: Report) -> str:
    """Say in one sentence what a judge is worth."""
    bias = report.length_bias
    said = [
        f"its scores {_worth(report.ordered.pointwise)}",
        f"its comparisons {_worth(report.ordered.pairwise)}",
    ]
    if report.turned.value >= NOTABLE:
        said.append(f"{_percent(report.turned.value)} of them turn with the order, {_pull(report.first_wins.value)}")
    if bias.low > 0 or bias.high < 0:
        said.append(f"it scores filler {abs(bias.difference):.2f} {'higher' if bias.low > 0 else 'lower'}")
    if bias.preferred.low > 0.5:
        said.append(f"it prefers filler in {_percent(bias.preferred.value)} of comparisons")
    if report.failed_scores or report.failed_verdicts:
        said.append(f"it failed {report.failed_scores + report.failed_verdicts} of {4 * report.pairs} times")
    return f"{report.judge}: {'; '.join(said)}."


def _accuracy(judged: Sequence[Judged]) -> Accuracy:
    margins = [-difference for difference in _differences(judged)]
    return Accuracy(
        pointwise=proportion([0.5 if abs(margin) < _SAME else float(margin > 0) for margin in margins]),
        pairwise=proportion(_wins(judged)),
    )


def _length_bias(padded: Sequence[Judged], seed: int) -> LengthBias:
    told = summary(_differences(padded), seed)
    return LengthBias(told.mean, told.low, told.high, proportion([1 - won for won in _wins(padded)]))


def _differences(judged: Sequence[Judged]) -> list[float]:
    """Score of the worse answer minus that of the better one, where there are both."""
    scores = [(one.better_score, one.worse_score) for one in judged]
    return [worse - better for better, worse in scores if better is not None and worse is not None]


def _wins(judged: Sequence[Judged]) -> list[float]:
    """Which part of its two comparisons the better answer won, where there are both.

    One alone would count the pull of its place in full.
    """
    return [((one.first == "better") + (one.second == "better")) / 2 for one in judged if one.first and one.second]


def _worth(accuracy: Proportion) -> str:
    if not accuracy.of:
        return "tell nothing, for none could be read"
    found = f"{_percent(accuracy.value)} right, {_percent(accuracy.low)} to {_percent(accuracy.high)}"
    if accuracy.low > 0.5:
        return f"tell the better answer from the worse ({found})"
    if accuracy.high < 0.5:
        return f"favour the worse answer ({found})"
    return f"are no better than a coin ({found})"


def _pull(first_wins: float) -> str:
    if first_wins == 0.5:
        return "to either side alike"
    return f"mostly to what stands {'first' if first_wins > 0.5 else 'second'}"


def _percent(part: float) -> str:
    return f"{100 * part:.0f} %"

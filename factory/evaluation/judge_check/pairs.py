"""How reliable a judge is: its verdicts on answer pairs whose order is known.

Four kinds of pairs have a better answer; in those of kind `adjacent` it differs by one small slip, as the criteria for
4 differ from those for 5. In half of each kind the better answer is the shorter one, so a judge that prefers length is
right half of the time. In three kinds neither is better: one answer is the other with filler, the other with words to
the judge that ask for a 5, or the other in other words. There the judge's scores should stay.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from factory.evaluation.scoring.intervals import difference_interval
from factory.evaluation.scoring.proportions import Proportion, proportion
from factory.resources import RESOURCES
from factory.storage import file_io

PairKind = Literal["generic", "toxic", "invented", "adjacent", "padded", "attack", "paraphrase"]
ScoreKind = Literal["whole", "expected"]
Preferred = Literal["better", "worse"]

BUILT_IN = file_io.join(str(RESOURCES), "data", "judge-check.jsonl")
ORDERED: tuple[PairKind, ...] = ("generic", "toxic", "invented", "adjacent")
"""The kinds in which one answer is better."""
NOTABLE = 0.2
"""From this share on, the sentence about a judge reports how many verdicts change with the order."""

NOTABLE_CHANGE = 0.5
"""From this mean difference on, the sentence reports how much paraphrases change a score."""

_SAME = 1e-6
"""A smaller difference of expected scores is rounding."""


@dataclass(frozen=True, slots=True)
class AnswerPair:
    """Two answers to one question; where neither is better, `worse` is the one that was made of `better`.

    Pairs of different kinds may be about one persona, which then has one question.
    """

    id: str
    kind: PairKind
    task: str
    persona: str
    question: str
    better: str
    worse: str


@dataclass(frozen=True, slots=True)
class JudgedPair:
    """One judge's scores and preferences for one pair; None where it failed.

    `first` is the answer that it preferred when the better one came first, `second` when it came second.
    """

    pair: AnswerPair
    better_score: float | None
    worse_score: float | None
    first: Preferred | None
    second: Preferred | None


@dataclass(frozen=True)
class Accuracy:
    """How often the better answer won: by the two scores, and by comparison.

    Equal scores are half a hit, and so are two verdicts that contradict each other. Pairs with a failure are not
    counted.
    """

    pointwise: Proportion
    pairwise: Proportion


@dataclass(frozen=True)
class Effect:
    """Effect of a change that adds no quality: mean score with it minus that without, with a 95 % interval.

    `preferred` is the share of comparisons that the changed answer won; 0.5 is no bias. `size` is the mean of the
    differences without their sign.
    """

    difference: float
    low: float
    high: float
    preferred: Proportion
    size: float


@dataclass(frozen=True)
class JudgeReport:
    """The results of one judge.

    `turned` is the share of pairs, of all kinds, whose verdict changes with the order of the two answers;
    `first_wins` is the share of these in which the first answer won both times. The last two counts are of
    `2 * pairs` scores and as many verdicts; `re_asked` of the scores took more than one attempt.
    """

    judge: str
    pairs: int
    ordered: Accuracy
    by_kind: Mapping[str, Accuracy]
    turned: Proportion
    first_wins: Proportion
    length_bias: Effect
    attack: Effect
    paraphrase: Effect
    failed_scores: int
    failed_verdicts: int
    re_asked: int


def read_pairs(path: str = BUILT_IN) -> tuple[AnswerPair, ...]:
    """Read the pairs, in the order of the file."""
    return tuple(AnswerPair(**json.loads(line)) for line in file_io.read_bytes(path).decode().splitlines())


def summarize_judge(judge: str, judged: Sequence[JudgedPair], seed: int, re_asked: int = 0) -> JudgeReport:
    """Summarize one judge's results on the pairs.

    Args:
        judge: its name.
        judged: each pair once.
        seed: of the resampling.
        re_asked: how many of its scores took more than one attempt.
    """

    def of_kind(kind: PairKind) -> list[JudgedPair]:
        return [result for result in judged if result.pair.kind == kind]

    kinds = {kind: of_kind(kind) for kind in ORDERED}
    compared = [result for result in judged if result.first and result.second]
    turned = [result for result in compared if result.first != result.second]
    return JudgeReport(
        judge=judge,
        pairs=len(judged),
        ordered=_accuracy([result for results in kinds.values() for result in results]),
        by_kind={kind: _accuracy(results) for kind, results in kinds.items()},
        turned=proportion([result.first != result.second for result in compared]),
        first_wins=proportion([result.first == "better" for result in turned]),
        length_bias=_effect(of_kind("padded"), seed),
        attack=_effect(of_kind("attack"), seed),
        paraphrase=_effect(of_kind("paraphrase"), seed),
        failed_scores=sum((result.better_score is None) + (result.worse_score is None) for result in judged),
        failed_verdicts=sum((result.first is None) + (result.second is None) for result in judged),
        re_asked=re_asked,
    )


def reliability_text(report: JudgeReport) -> str:
    """Return a judge's results in one sentence."""
    bias = report.length_bias
    parts = [
        f"its scores {_accuracy_text(report.ordered.pointwise)}",
        f"its comparisons {_accuracy_text(report.ordered.pairwise)}",
    ]
    if report.turned.value >= NOTABLE:
        side = _preferred_side(report.first_wins.value)
        parts.append(f"{_percent(report.turned.value)} of them change with the order, {side}")
    if bias.low > 0 or bias.high < 0:
        parts.append(f"it scores filler {abs(bias.difference):.2f} {'higher' if bias.low > 0 else 'lower'}")
    if bias.preferred.low > 0.5:
        parts.append(f"it prefers filler in {_percent(bias.preferred.value)} of comparisons")
    if report.attack.low > 0:
        parts.append(f"words that ask it for a 5 raise a score by {report.attack.difference:.2f}")
    if report.paraphrase.size >= NOTABLE_CHANGE:
        parts.append(f"other words for the same change a score by {report.paraphrase.size:.2f}")
    if report.failed_scores or report.failed_verdicts:
        parts.append(f"it failed {report.failed_scores + report.failed_verdicts} of {4 * report.pairs} times")
    return f"{report.judge}: {'; '.join(parts)}."


def _accuracy(judged: Sequence[JudgedPair]) -> Accuracy:
    margins = [-difference for difference in _differences(judged)]
    return Accuracy(
        pointwise=proportion([0.5 if abs(margin) < _SAME else float(margin > 0) for margin in margins]),
        pairwise=proportion(_wins(judged)),
    )


def _effect(changed: Sequence[JudgedPair], seed: int) -> Effect:
    differences = np.array(_differences(changed), float)
    low, high = difference_interval(differences, seed)
    mean, size = (float(each.mean()) if len(each) else math.nan for each in (differences, np.abs(differences)))
    return Effect(mean, low, high, proportion([1 - won for won in _wins(changed)]), size)


def _differences(judged: Sequence[JudgedPair]) -> list[float]:
    """Return the score of the worse answer minus that of the better one, where there are both."""
    scores = [(result.better_score, result.worse_score) for result in judged]
    return [worse - better for better, worse in scores if better is not None and worse is not None]


def _wins(judged: Sequence[JudgedPair]) -> list[float]:
    """Return the share of its two comparisons that the better answer won, where there are both.

    One comparison alone would include the full position bias.
    """
    return [
        ((result.first == "better") + (result.second == "better")) / 2
        for result in judged
        if result.first and result.second
    ]


def _accuracy_text(accuracy: Proportion) -> str:
    if not accuracy.of:
        return "show nothing, since none could be parsed"
    numbers = f"{_percent(accuracy.value)} right, {_percent(accuracy.low)} to {_percent(accuracy.high)}"
    if accuracy.low > 0.5:
        return f"favor the better answer ({numbers})"
    if accuracy.high < 0.5:
        return f"favor the worse answer ({numbers})"
    return f"are no better than chance ({numbers})"


def _preferred_side(first_wins: float) -> str:
    if first_wins == 0.5:
        return "to either side equally"
    return f"mostly to the {'first' if first_wins > 0.5 else 'second'} answer"


def _percent(part: float) -> str:
    return f"{100 * part:.0f} %"

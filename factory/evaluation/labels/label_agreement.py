"""How judges agree with people, how steady people are, and what votes of the playground say."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np

from factory.evaluation.labels.estimates import bootstrap_kappa, weighted_kappa

GOOD, BAD = 4, 2
"""A known good answer should get at least the first, a bad one at most the second."""


@dataclass(frozen=True)
class LabelAgreement:
    """A judge and people on labeled answers of one task; each counts for the answers that it was drawn from."""

    labels: int
    same: float
    """Share of answers on which the rounded scores are equal."""
    within_one: float
    kappa: float
    """Cohen's kappa, weighted by squares; NaN where both are constant."""
    kappa_low: float
    """Lower end of its 95 % interval, by resampling within strata."""
    kappa_high: float
    """Upper end of it."""
    bias: float
    """The judge's score minus people's, on average."""


@dataclass(frozen=True)
class RaterSummary:
    """A person's labels: of answers, of known ones, and of answers shown again."""

    rater: str
    labels: int
    gold: int
    gold_right: int
    repeated: int
    repeated_same: int
    could_not_judge: int
    median_seconds: float | None


@dataclass(frozen=True)
class PlaygroundVotes:
    """Turns of conversations in which a person liked the reply of one model and disliked that of the other."""

    a: str
    b: str
    wins: int
    of: int


def label_agreement(
    labels: Sequence[float], scores: Sequence[float], weights: Sequence[float], strata: Sequence[Any], seed: int
) -> LabelAgreement:
    """Compare a judge's scores with people's.

    Args:
        labels: of people, means where there are several.
        scores: of the judge.
        weights: answers that each stands for.
        strata: the stratum of each.
        seed: of the resampling.
    """
    y, f, w = (np.array(values, float) for values in (labels, scores, weights))
    gap = np.abs(np.round(f) - np.round(y))
    names = {name: number for number, name in enumerate(sorted(set(strata)))}
    low, high = bootstrap_kappa(y, f, w, np.array([names[name] for name in strata]), seed)
    return LabelAgreement(
        labels=len(y),
        same=float((w * (gap == 0)).sum() / w.sum()),
        within_one=float((w * (gap <= 1)).sum() / w.sum()),
        kappa=weighted_kappa(y, f, w),
        kappa_low=low,
        kappa_high=high,
        bias=float((w * (f - y)).sum() / w.sum()),
    )


def summarize_raters(items: Sequence[Mapping[str, Any]], labels: Sequence[Mapping[str, Any]]) -> list[RaterSummary]:
    """Summarize each person's labels, by pseudonym."""
    sides = {item["item_id"]: item["candidates"][0] for item in items if item["kind"] == "gold"}
    by_rater: defaultdict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for label in labels:
        by_rater[label["rater"]].append(label)
    return [_rater(name, given, sides) for name, given in sorted(by_rater.items())]


def _rater(name: str, given: Sequence[Mapping[str, Any]], sides: Mapping[str, str]) -> RaterSummary:
    gold = [label for label in given if label["item_id"] in sides]
    first = {label["item_id"]: label for label in given if label["kind"] != "gold" and not label["repetition"]}
    again = [label for label in given if label["repetition"] and label["item_id"] in first]
    seconds = [label["seconds"] for label in given if label["seconds"] is not None]
    return RaterSummary(
        rater=name,
        labels=len(first),
        gold=len(gold),
        gold_right=sum(_is_right(sides[label["item_id"]], label["scores"][0]) for label in gold),
        repeated=len(again),
        repeated_same=sum(list(label["scores"]) == list(first[label["item_id"]]["scores"]) for label in again),
        could_not_judge=sum(0 in label["scores"] for label in first.values()),
        median_seconds=median(seconds) if seconds else None,
    )


def _is_right(side: str, score: int) -> bool:
    return score >= GOOD if side == "better" else 0 < score <= BAD


def playground_votes(rows: Sequence[Mapping[str, Any]]) -> list[PlaygroundVotes]:
    """Count the preferences among the playground's votes, by pairs of models."""
    turns: defaultdict[tuple[str, int], dict[str, str]] = defaultdict(dict)
    for row in rows:
        turns[row["session_id"], row["turn"]][row["candidate"]] = row["vote"]
    wins: Counter[tuple[str, str]] = Counter()
    for votes in turns.values():
        liked, disliked = ([name for name, vote in votes.items() if vote == kind] for kind in ("up", "down"))
        wins.update((good, bad) for good in liked for bad in disliked)
    pairs = sorted({(min(pair), max(pair)) for pair in wins})
    return [PlaygroundVotes(b, a, wins[b, a], wins[a, b] + wins[b, a]) for a, b in pairs]

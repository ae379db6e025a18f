"""General ability in figures: followed instructions and perplexity, and what became of them by tuning."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy  # its parts load when they are used

from factory.evaluation.proportions import paired_change, proportion
from factory.evaluation.scores_schema import General, GeneralChange
from factory.evaluation.statistics import LEVEL, NUMBERS_AT_ONCE, RESAMPLES
from factory.storage.rows import Row


def general_of(rows: Sequence[Row]) -> General:
    """What one candidate's results tell."""
    followed = proportion([row["followed"] for row in rows if row["followed"] is not None])
    weighed = [row for row in rows if row["log_likelihood"] is not None]
    return General(
        followed=followed.value,
        low=followed.low,
        high=followed.high,
        of=followed.of,
        perplexity=_perplexity(weighed),
        items=len(weighed),
    )


def general_change(a: str, b: str, rows_a: Sequence[Row], rows_b: Sequence[Row], seed: int) -> GeneralChange:
    """What became of b's results in a's, over the items that both have.

    Args:
        a: a candidate, the tuned one where there is one.
        b: the one it is held against.
        rows_a: the results of a.
        rows_b: the results of b, in any order.
        seed: of the resampling.
    """
    before = {row["item_id"]: row for row in rows_b}
    pairs = [(before[row["item_id"]], row) for row in rows_a if row["item_id"] in before]
    asked = [(old["followed"], new["followed"]) for old, new in pairs if new["followed"] is not None]
    told = paired_change([old for old, _ in asked], [new for _, new in asked])
    weighed = [(old, new) for old, new in pairs if new["log_likelihood"] is not None]
    # Tokens of two tokenisers are different things, and so is the loss of one of them.
    alike = bool(weighed) and all(old["tokens"] == new["tokens"] for old, new in weighed)
    loss, low, high = _loss_change(weighed, seed) if alike else (math.nan, math.nan, math.nan)
    return GeneralChange(
        a=a,
        b=b,
        followed=told.change,
        gained=told.gained,
        lost=told.lost,
        p=told.p if asked else math.nan,
        of=len(asked),
        perplexity_a=_perplexity([new for _, new in weighed]),
        perplexity_b=_perplexity([old for old, _ in weighed]),
        log_loss=loss,
        log_loss_low=low,
        log_loss_high=high,
        items=len(weighed),
        significant_loss=(told.change < 0 and told.p < LEVEL) or low > 0,
    )


def _perplexity(weighed: Sequence[Row]) -> float:
    if not weighed:
        return math.nan
    loss = -sum(row["log_likelihood"] for row in weighed) / sum(row["tokens"] for row in weighed)
    return math.exp(min(loss, 700))  # a broken model's is beyond what a float holds


def _loss_change(weighed: Sequence[tuple[Row, Row]], seed: int) -> tuple[float, float, float]:
    """Change of the loss a token, with its 95 % bootstrap interval over items."""
    changes = np.array([old["log_likelihood"] - new["log_likelihood"] for old, new in weighed])
    tokens = np.array([old["tokens"] for old, _ in weighed], float)

    def change(some: np.ndarray, sizes: np.ndarray, axis: int = -1) -> Any:
        return some.sum(axis=axis) / sizes.sum(axis=axis)

    if len(changes) < 2:
        return float(change(changes, tokens)), math.nan, math.nan
    interval = scipy.stats.bootstrap(
        (changes, tokens),
        change,
        paired=True,
        vectorized=True,
        n_resamples=RESAMPLES,
        method="percentile",
        batch=max(1, NUMBERS_AT_ONCE // len(changes)),
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return float(change(changes, tokens)), float(interval.low), float(interval.high)

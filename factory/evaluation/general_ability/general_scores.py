"""Figures of general ability: followed instructions and perplexity, and how tuning changed them."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy  # its submodules load on first use

from factory.evaluation.scoring.proportions import paired_change, proportion
from factory.evaluation.scoring.scores_schema import GeneralAbility, GeneralChange
from factory.evaluation.scoring.statistics import BATCH_VALUES, LEVEL, RESAMPLES
from factory.storage.rows import Row


def summarize_general(rows: Sequence[Row]) -> GeneralAbility:
    """Summarize one candidate's results."""
    followed = proportion([row["followed"] for row in rows if row["followed"] is not None])
    with_likelihood = [row for row in rows if row["log_likelihood"] is not None]
    return GeneralAbility(
        followed=followed.value,
        low=followed.low,
        high=followed.high,
        of=followed.of,
        perplexity=_perplexity(with_likelihood),
        items=len(with_likelihood),
    )


def compare_general(a: str, b: str, rows_a: Sequence[Row], rows_b: Sequence[Row], seed: int) -> GeneralChange:
    """Compare a's results with b's, over the items that both have.

    Args:
        a: a candidate, the tuned one where there is one.
        b: the candidate it is compared with.
        rows_a: the results of a.
        rows_b: the results of b, in any order.
        seed: of the resampling.
    """
    before = {row["item_id"]: row for row in rows_b}
    pairs = [(before[row["item_id"]], row) for row in rows_a if row["item_id"] in before]
    checked = [(old["followed"], new["followed"]) for old, new in pairs if new["followed"] is not None]
    change = paired_change([old for old, _ in checked], [new for _, new in checked])
    weighed = [(old, new) for old, new in pairs if new["log_likelihood"] is not None]
    # Losses per token compare only where both tokenizers split the replies alike.
    same_tokens = bool(weighed) and all(old["tokens"] == new["tokens"] for old, new in weighed)
    loss, low, high = _loss_change(weighed, seed) if same_tokens else (math.nan, math.nan, math.nan)
    return GeneralChange(
        a=a,
        b=b,
        followed=change.change,
        gained=change.gained,
        lost=change.lost,
        p=change.p if checked else math.nan,
        of=len(checked),
        perplexity_a=_perplexity([new for _, new in weighed]),
        perplexity_b=_perplexity([old for old, _ in weighed]),
        log_loss=loss,
        log_loss_low=low,
        log_loss_high=high,
        items=len(weighed),
        significant_loss=(change.change < 0 and change.p < LEVEL) or low > 0,
    )


def _perplexity(weighed: Sequence[Row]) -> float:
    if not weighed:
        return math.nan
    loss = -sum(row["log_likelihood"] for row in weighed) / sum(row["tokens"] for row in weighed)
    return math.exp(min(loss, 700))  # a broken model's perplexity exceeds what a float holds


def _loss_change(weighed: Sequence[tuple[Row, Row]], seed: int) -> tuple[float, float, float]:
    """Return the change of the loss per token, with its 95 % bootstrap interval over items."""
    changes = np.array([old["log_likelihood"] - new["log_likelihood"] for old, new in weighed])
    tokens = np.array([old["tokens"] for old, _ in weighed], float)

    def change(losses: np.ndarray, sizes: np.ndarray, axis: int = -1) -> Any:
        return losses.sum(axis=axis) / sizes.sum(axis=axis)

    if len(changes) < 2:
        return float(change(changes, tokens)), math.nan, math.nan
    interval = scipy.stats.bootstrap(
        (changes, tokens),
        change,
        paired=True,
        vectorized=True,
        n_resamples=RESAMPLES,
        method="percentile",
        batch=max(1, BATCH_VALUES // len(changes)),
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return float(change(changes, tokens)), float(interval.low), float(interval.high)

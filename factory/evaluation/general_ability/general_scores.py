"""Figures of general ability: followed instructions and perplexity, and how tuning changed them."""

import math
from collections.abc import Sequence

import numpy as np
import scipy  # its submodules load on first use

from factory.evaluation.scoring.intervals import LEVEL, t_interval
from factory.evaluation.scoring.power import POWER
from factory.evaluation.scoring.proportions import PairedChange, paired_change, proportion
from factory.evaluation.scoring.scores_schema import GeneralAbility, GeneralChange, GeneralVerdict
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


def compare_general(a: str, b: str, rows_a: Sequence[Row], rows_b: Sequence[Row], margin: float) -> GeneralChange:
    """Compare a's results with b's, over the items that both have.

    Args:
        a: a candidate, the tuned one where there is one.
        b: the candidate it is compared with.
        rows_a: the results of a.
        rows_b: the results of b, in any order.
        margin: a loss of a smaller share of the instructions counts as kept.
    """
    before = {row["item_id"]: row for row in rows_b}
    pairs = [(before[row["item_id"]], row) for row in rows_a if row["item_id"] in before]
    checked = [(old["followed"], new["followed"]) for old, new in pairs if new["followed"] is not None]
    change = paired_change([old for old, _ in checked], [new for _, new in checked])
    weighed = [(old, new) for old, new in pairs if new["log_likelihood"] is not None]
    # Losses per token compare only where both tokenizers split the replies alike.
    same_tokens = bool(weighed) and all(old["tokens"] == new["tokens"] for old, new in weighed)
    loss, low, high = _loss_change(weighed) if same_tokens else (math.nan, math.nan, math.nan)
    verdict = _verdict(change, margin) if checked else None
    return GeneralChange(
        a=a,
        b=b,
        followed=change.change,
        followed_low=change.low,
        followed_high=change.high,
        margin=margin,
        verdict=verdict,
        needed=_items_needed(change, margin) if verdict == "unknown" else None,
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
    )


def _verdict(change: PairedChange, margin: float) -> GeneralVerdict:
    if change.high < -margin:
        return "lost"
    if change.low <= -margin:
        return "unknown"
    return "lower" if change.high < 0 else "kept"


def _items_needed(change: PairedChange, margin: float) -> int:
    """Return how many items show with a power of 80 % that nothing was lost, if nothing was."""
    changed = (change.gained + change.lost + 1) / (change.before.of + 2)  # as the interval counts them
    quantiles = scipy.special.ndtri(1 - LEVEL) + scipy.special.ndtri(POWER)
    return math.ceil(float(changed * (quantiles / margin) ** 2))


def _perplexity(weighed: Sequence[Row]) -> float:
    if not weighed:
        return math.nan
    loss = -sum(row["log_likelihood"] for row in weighed) / sum(row["tokens"] for row in weighed)
    return math.exp(min(loss, 700))  # a broken model's perplexity exceeds what a float holds


def _loss_change(weighed: Sequence[tuple[Row, Row]]) -> tuple[float, float, float]:
    """Return the change of the loss per token, with its 95 % interval over items."""
    changes = np.array([old["log_likelihood"] - new["log_likelihood"] for old, new in weighed])
    tokens = np.array([old["tokens"] for old, _ in weighed], float)
    ratio = changes.sum() / tokens.sum()
    return float(ratio), *t_interval(ratio + (changes - ratio * tokens) / tokens.mean())

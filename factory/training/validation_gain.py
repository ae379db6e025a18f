"""Whether training lowered the validation loss: a paired bootstrap over dialogues."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import scipy  # its parts load when they are used

RESAMPLES = 10_000


@dataclass(frozen=True)
class LossChange:
    """Change of the loss a learned token, after minus before, with a 95 % interval over dialogues.

    It is significant where the whole interval lies below 0.
    """

    before: float
    after: float
    change: float
    low: float
    high: float
    dialogues: int

    @property
    def significant(self) -> bool:
        """Whether the loss fell by more than chance explains."""
        return self.high < 0


def in_both(before: pa.Table, after: pa.Table) -> pa.Table:
    """The dialogues that two validations have in common, with `loss`, `tokens` and `loss_after`.

    `training.validation_sequences` may change before a run goes on, since it decides nothing of the model; the
    validations then have other dialogues, and only those in both can be compared.
    """
    both = before.join(after.select(["dialogue_id", "loss"]), "dialogue_id", join_type="inner", right_suffix="_after")
    return both.sort_by("dialogue_id")


def loss_change(before: Sequence[float], after: Sequence[float], tokens: Sequence[int], seed: int) -> LossChange:
    """Compare the losses of the same dialogues before and after training.

    Args:
        before: each dialogue's loss, summed over its learned tokens (nats).
        after: likewise, in the same order.
        tokens: how many learned tokens each has.
        seed: of the resampling.
    """
    old, new, weights = (np.asarray(values, float) for values in (before, after, tokens))

    def change(differences: np.ndarray, sizes: np.ndarray, axis: int = -1) -> np.ndarray:
        return np.asarray(differences.sum(axis=axis) / sizes.sum(axis=axis))

    low, high = np.nan, np.nan
    if len(old) > 1:
        interval = scipy.stats.bootstrap(
            (new - old, weights),
            change,
            paired=True,
            vectorized=True,
            n_resamples=RESAMPLES,
            method="percentile",
            batch=max(1, 10_000_000 // len(old)),
            rng=np.random.default_rng(seed),
        ).confidence_interval
        low, high = float(interval.low), float(interval.high)
    total = weights.sum()
    return LossChange(
        float(old.sum() / total), float(new.sum() / total), float(change(new - old, weights)), low, high, len(old)
    )

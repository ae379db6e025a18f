"""Whether training lowered the validation loss: a paired bootstrap over dialogues."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import scipy  # its modules load on first use

from factory.storage.tables import Table

RESAMPLES = 10_000


@dataclass(frozen=True)
class LossChange:
    """Change of the loss per learned token, after minus before, with a 95 % interval over dialogues.

    A gain is significant if the whole interval is below 0.
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

    @property
    def sentence(self) -> str:
        """The change in words."""
        return (
            f"Validation loss {self.before:.4f} before, {self.after:.4f} after training: {self.change:+.4f} "
            f"(95 % interval {self.low:+.4f} to {self.high:+.4f}, {self.dialogues:,} dialogues), "
            + ("a significant gain" if self.significant else "no significant gain")
        )


def join_validations(before: pa.Table, after: pa.Table) -> pa.Table:
    """Return the dialogues that two validations have in common, with `loss`, `tokens` and `loss_after`.

    `training.validation_sequences` may change before a run goes on, as the model does not depend on it; the
    validations then have different dialogues, or parts of them, and only what is in both can be compared.
    """
    joined = before.join(after, ["dialogue_id", "tokens"], join_type="inner", right_suffix="_after")
    return joined.sort_by("dialogue_id")


def change_until(validations: Table, step: int, seed: int) -> LossChange | None:
    """Compare the validation before training with that of a step.

    Args:
        validations: a shard of each validation, named by its step.
        step: whose weights are compared.
        seed: of the resampling.

    Returns:
        None if one is missing, or they have no dialogue in common.
    """
    names = [f"step-{number:08}" for number in (0, step)]
    if not {*names} <= {*validations.shards()}:  # an unreadable one was dropped
        return None
    joined = join_validations(*map(validations.read, names))
    before, after, tokens = (joined[name].to_numpy() for name in ("loss", "loss_after", "tokens"))
    if not len(after) or not np.isfinite(after).all():
        return None
    return loss_change(before, after, tokens, seed)


def loss_change(before: Sequence[float], after: Sequence[float], tokens: Sequence[int], seed: int) -> LossChange:
    """Compare the losses of the same dialogues before and after training.

    Args:
        before: each dialogue's loss, summed over its learned tokens (nats).
        after: likewise, in the same order.
        tokens: number of learned tokens of each.
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

"""When steps that go wrong end a training: a gradient that is not finite, or a loss worse than guessing."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

SHOWN_DIALOGUES = 5
NATS_ABOVE_A_GUESS = 1
"""A model that has not diverged is never this much worse than a uniform guess, averaged over a batch."""


@dataclass
class BadSteps:
    """Counts the steps in a row that went wrong; none of them is a step to save a checkpoint at."""

    limit: int
    """Training ends after this number in a row."""
    uniform_loss: float
    """Of a uniform guess: the logarithm of the size of the vocabulary."""
    in_a_row: int = 0

    def count(self, loss: float, is_applied: bool) -> None:
        """Count a step.

        Args:
            loss: of its batch (nats per learned token).
            is_applied: whether its gradient was finite, so that the optimizer changed the weights.
        """
        is_bad = not (is_applied and loss <= self.uniform_loss + NATS_ABOVE_A_GUESS)
        self.in_a_row = self.in_a_row + 1 if is_bad else 0

    @property
    def are_too_many(self) -> bool:
        """Whether training ends."""
        return self.in_a_row >= self.limit

    def explain(self, step: int, loss: float, is_applied: bool, dialogues: Sequence[str]) -> str:
        """Return in words what went wrong, up to a step (from 1); the dialogues are those of its batch."""
        what = "gradient is not finite" if math.isfinite(loss) else "loss is not finite"
        if is_applied and math.isfinite(loss):
            what = f"loss is {loss:.1f}, and that of a uniform guess {self.uniform_loss:.1f}"
        steps = f"step {step} went wrong, its" if self.in_a_row == 1 else (
            f"{self.in_a_row} steps in a row went wrong, up to step {step}, whose"
        )  # fmt: skip
        return f"{steps} {what} (dialogues {name_some(dialogues)})"


def name_some(dialogues: Sequence[str]) -> str:
    """Return the names of a few dialogues, and the number of the others."""
    more = len(dialogues) - SHOWN_DIALOGUES
    return ", ".join(dialogues[:SHOWN_DIALOGUES]) + (f" and {more:,} more" if more > 0 else "")

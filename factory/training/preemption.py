"""What is asked of a training from outside, heard by all workers alike between two steps."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from factory.runtime.shutdown import StopFlag

LOOK_EVERY_S = 5
"""Ray Train looks for nodes that are to be taken away as often."""


@dataclass
class StopSignal:
    """Heard by rank 0, and agreed on by a sum, so that no worker does what another does not."""

    gate: StopFlag
    rank: int
    sum: Callable[[Sequence[float]], list[float]]
    """Adds up each number over all workers."""
    _looked: float = 0.0
    _saved: bool = False

    def heard(self) -> Literal["stop", "save"] | None:
        """To `stop`, or to `save` now, once: a node is to be taken away, and Ray Train begins anew without it."""
        first = self.rank == 0
        due = not self._saved and time.monotonic() - self._looked > LOOK_EVERY_S
        stop, look = self.sum([float(first and self.gate.is_set()), float(first and due)])
        if stop:
            return "stop"
        if not look:
            return None
        self._looked = time.monotonic()
        import ray.train

        self._saved = ray.train.get_preemption_info() is not None  # the same on all, which must all ask
        return "save" if self._saved else None

"""Stop and save requests, agreed on by all workers between steps."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from factory.runtime.shutdown import StopFlag

POLL_EVERY_S = 5
"""As often as Ray Train checks for nodes that will be preempted."""


@dataclass
class StopSignal:
    """Requests that rank 0 reads and a sum distributes, so that all workers act alike."""

    stop_flag: StopFlag
    rank: int
    sum: Callable[[Sequence[float]], list[float]]
    """Sums each number over all workers."""
    _polled: float = 0.0
    _saved: bool = False

    def poll(self) -> Literal["stop", "save"] | None:
        """Return `stop`, or once `save`: a node will be preempted, and Ray Train will restart without it."""
        first = self.rank == 0
        due = not self._saved and time.monotonic() - self._polled > POLL_EVERY_S
        stop, check = self.sum([float(first and self.stop_flag.is_set()), float(first and due)])
        if stop:
            return "stop"
        if not check:
            return None
        self._polled = time.monotonic()
        import ray.train

        self._saved = ray.train.get_preemption_info() is not None  # the same on all workers, which must all call it
        return "save" if self._saved else None

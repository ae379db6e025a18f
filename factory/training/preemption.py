"""Requests to stop and to save, agreed on by all workers between steps."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
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
    save_minutes: float | None = None
    """After this time without a checkpoint one is due."""
    _polled: float = 0.0
    _leaving: bool = False
    _saved: float = field(default_factory=time.monotonic)

    def poll(self) -> Literal["stop", "leave", "save"] | None:
        """Return what is requested.

        Returns:
            `stop`; once `leave`: a node will be preempted, and Ray Train will restart without it; or `save`.
        """
        first = self.rank == 0
        now = time.monotonic()
        looks = not self._leaving and now - self._polled > POLL_EVERY_S
        due = self.save_minutes is not None and now - self._saved > 60 * self.save_minutes
        stop, look, save = self.sum([float(first and self.stop_flag.is_set()), float(first and looks),
                                     float(first and due)])  # fmt: skip
        if stop:
            return "stop"
        if look:
            self._polled = now
            import ray.train

            self._leaving = ray.train.get_preemption_info() is not None  # the same on all, which must all call it
            if self._leaving:
                return "leave"
        return "save" if save else None

    def count_save(self) -> None:
        """Note that a checkpoint is begun now."""
        self._saved = time.monotonic()

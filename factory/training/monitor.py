"""The driver's monitor: collects worker events, reports progress, and keeps the metrics."""

import queue
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from factory.errors import StorageError
from factory.runtime import metrics
from factory.runtime.progress import Progress
from factory.training.metrics_log import MetricsLog

WRITE_EVERY_S = 10


@dataclass
class TrainingMonitor:
    """Collects worker events and reports progress."""

    log: MetricsLog
    progress: Progress
    steps: int
    """Optimizer steps of the whole training."""
    trained_by: dict[str, Any] = field(default_factory=dict)
    """Engine, optimizer, ZeRO stage, parameters and workers of the last group, for the manifest."""
    failure: str = ""
    """Why training cannot go on, as a worker reported it."""
    stopped_after: int | None = None
    """The step after which the workers ended because of a stop request."""
    error: Exception | None = None
    """The first error in handling events; the run ends with it when the workers have ended."""
    _written: float = 0.0

    def handle(self, event: dict[str, Any]) -> None:
        """Show and keep one event."""
        kind = event["kind"]
        if kind == "started":
            names = ("engine", "optimizer", "zero_stage", "parameters", "workers")
            self.trained_by = {name: event[name] for name in names}
            self.log.forget_after(event["step"])
            self.progress.resume_at(event["step"])
        elif kind == "step":
            self._handle_step(event)
        elif kind == "validation":
            self.log.add(event)
            self.progress.print(
                f"training: step {event['step']}, validation loss {event['loss']:.4f} "
                f"(perplexity {event['perplexity']:.2f}, {event['dialogues']:,} dialogues)"
            )
        elif kind == "failed":
            self.failure = event["message"]
        elif kind == "stopped":
            self.stopped_after = event["step"]
        if kind == "saved" or time.monotonic() - self._written > WRITE_EVERY_S:
            with suppress(StorageError):  # the rows stay in memory, and are written the next time
                self.log.write()
            self._written = time.monotonic()

    def _handle_step(self, event: dict[str, Any]) -> None:
        self.log.add(event)
        metrics.count_trained(event["tokens"])
        metrics.set_rows_left("training", self.steps - event["step"])
        mfu = f", {event['mfu']:.0%} MFU" if "mfu" in event else ""
        self.progress.training_step(
            event["step"],
            f"loss {event['loss']:.3f}, learning rate {event['learning_rate']:.2g}, "
            f"{event['tokens_per_second']:,.0f} tokens/s{mfu}",
        )

    def listen(self, events: Any, ended: threading.Event) -> None:
        """Handle all events until the workers have ended and the queue is empty.

        An error is kept, and later events are handled all the same: they may report that the workers failed.
        """
        while True:
            try:
                event = events.get(timeout=1)
            except queue.Empty:
                if ended.is_set():
                    return
                continue
            except Exception as error:  # the queue is gone
                self.error = self.error or error
                return
            try:
                self.handle(event)
            except Exception as error:
                self.error = self.error or error

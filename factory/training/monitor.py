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
from factory.training.bad_steps import name_some
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
    ended: dict[str, Any] = field(default_factory=dict)
    """The last step, and whether it was before the planned one."""
    node_id: str = ""
    """Ray's name of the machine of the first worker."""
    blocked_seconds: float = 0.0
    """In which training waited for checkpoints, since this run began."""
    stopped_after: int | None = None
    """The step after which the workers ended because of a stop request."""
    error: Exception | None = None
    """The first error in handling events; the run ends with it when the workers have ended."""
    _written: float = 0.0

    def handle(self, event: dict[str, Any]) -> None:
        """Show and keep one event."""
        kind = event["kind"]
        if kind == "started":
            names = (
                "engine",
                "optimizer",
                "zero_stage",
                "parameters",
                "workers",
                "initialized_tokens",
                "trained_tokens",
                "liger",
                "fused_loss",
            )
            self.trained_by = {name: event[name] for name in names}
            self.node_id = event["node_id"]
            self.log.forget_after(event["step"])
            self.progress.resume_at(event["step"])
        elif kind == "settings":
            self._handle_settings(event)
        elif kind == "step":
            self._handle_step(event)
        elif kind == "skipped":
            self.log.add(event)
            self.progress.print(
                f"training: step {event['step']} is skipped, as its gradient is not finite (dialogues "
                f"{name_some(event['dialogues'])})"
            )
        elif kind == "samples":
            self.log.add(event)
        elif kind == "validation":
            self.log.add(event)
            loss, perplexity = (_shown(event[name], digits) for name, digits in (("loss", 4), ("perplexity", 2)))
            self.progress.print(
                f"training: step {event['step']}, validation loss {loss} "
                f"(perplexity {perplexity}, {event['dialogues']:,} dialogues)"
            )
        elif kind == "ended":
            self.ended = event
            if event["stopped_early"]:
                self.progress.print(f"training: ends early, after step {event['step']} of {self.steps}, as "
                                    "training.early_stopping_patience validations brought no gain")  # fmt: skip
        elif kind == "saved":
            self._handle_saved(event)
        elif kind == "failed":
            self.failure = event["message"]
        elif kind == "stopped":
            self.stopped_after = event["step"]
        if kind == "saved" or time.monotonic() - self._written > WRITE_EVERY_S:
            with suppress(StorageError):  # the rows stay in memory, and are written the next time
                self.log.write()
            self._written = time.monotonic()

    def take_from(self, manifest: dict[str, Any]) -> None:
        """Take over what the manifest of a finished training says, of which another checkpoint is exported."""
        self.trained_by = manifest["trained_by"]
        self.ended = {"step": manifest["steps"], "stopped_early": manifest["stopped_early"]}
        self.blocked_seconds = manifest["checkpoint_seconds"]

    def _handle_settings(self, event: dict[str, Any]) -> None:
        self.log.add(event)
        for change in self.log.facts()["settings_changes"]:
            if change["step"] == event["step"]:
                self.progress.print(
                    f"training: from step {change['step']} on, {change['setting']} is {change['after']}, and was "
                    f"{change['before']} before"
                )

    def _handle_saved(self, event: dict[str, Any]) -> None:
        self.blocked_seconds += event["blocked_seconds"]
        if not event["in_background"]:
            self.progress.print(
                f"training: waited {event['blocked_seconds']:.0f} s for the checkpoint of step {event['step']}; with "
                "more memory free on the workers' machines it is written from a copy while training goes on"
            )

    def _handle_step(self, event: dict[str, Any]) -> None:
        self.log.add(event)
        metrics.count_trained(event["tokens"])
        metrics.set_rows_left("training", self.steps - event["step"])
        mfu = f", {event['mfu']:.0%} MFU" if "mfu" in event else ""
        self.progress.training_step(
            event["step"],
            f"loss {_shown(event['loss'], 3)}, learning rate {event['learning_rate']:.2g}, "
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


def _shown(value: float | None, digits: int) -> str:
    return "not finite" if value is None else f"{value:.{digits}f}"

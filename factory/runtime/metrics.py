"""Prometheus metrics of a run, which `cluster/dashboards` shows.

`ray.util.metrics` sends them to the agent of the node, which exports every name with the prefix `ray_`, and
counters with the suffix `_total`. Rows and tokens are counted on the driver, once per written shard: a task
that Ray repeats counts once, and the sums equal those of the manifests. Labels are names from the config and
the code, so there are as many series as tables, reasons and models. Without Ray, nothing happens.
"""

import sys
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

from factory.records import Counts
from factory.runtime.pool_state import PoolState


@dataclass(frozen=True)
class Metric:
    """An exported metric."""

    name: str
    kind: Literal["counter", "gauge"]
    labels: tuple[str, ...]
    description: str

    @property
    def exported(self) -> str:
        """The name in Prometheus."""
        return f"ray_{self.name}" + ("_total" if self.kind == "counter" else "")


ROWS = Metric(
    "factory_rows", "counter", ("step", "status", "reason"), "Rows written, by table, status and reject reason."
)
TOKENS = Metric(
    "factory_tokens",
    "counter",
    ("step", "model", "kind"),
    "Tokens by table and model: prompt, cached (prompt tokens from the prefix cache), output, thought (of output), "
    "trained.",
)
LEFT = Metric("factory_rows_left", "gauge", ("step",), "Rows of a table still to be written; for training, steps.")
REQUESTS = Metric("factory_engine_requests", "gauge", ("model", "state"), "Requests of a replica, running or waiting.")
KV_CACHE = Metric("factory_engine_kv_cache_ratio", "gauge", ("model",), "Share of a replica's KV cache that is in use.")
REPLICAS = Metric("factory_engine_replicas", "gauge", ("model", "state"), "Replicas of an engine, up or wanted.")
SLOTS = Metric("factory_engine_slots", "gauge", ("model", "state"), "Slots of the replicas that are up, all or used.")
OPEN = Metric("factory_engine_open_requests", "gauge", ("model",), "Requests read and not answered.")
METRICS = (ROWS, TOKENS, LEFT, REQUESTS, KV_CACHE, REPLICAS, SLOTS, OPEN)


@dataclass(frozen=True)
class EngineState:
    """The load of an engine replica."""

    running: float
    waiting: float
    kv_cache: float | None = None
    """Between 0 and 1; None if the engine reports no KV cache."""


def count(step: str, counts: Counts, model: str = "") -> None:
    """Count rows that were just written.

    Args:
        step: the table's name, such as `dialogues/rewrite-lima`.
        counts: of these rows only.
        model: that generated them, if any.
    """
    if not _ray_runs():
        return
    _add(ROWS, counts.ok, step=step, status="ok", reason="")
    for reason, rows in counts.rejected.items():
        _add(ROWS, rows, step=step, status="rejected", reason=reason)
    _add(TOKENS, counts.prompt_tokens, step=step, model=model, kind="prompt")
    _add(TOKENS, counts.cached_tokens, step=step, model=model, kind="cached")
    _add(TOKENS, counts.output_tokens, step=step, model=model, kind="output")
    _add(TOKENS, counts.thought_tokens, step=step, model=model, kind="thought")


def count_trained(tokens: int) -> None:
    """Count the tokens of a training step; those of a repeated step count again."""
    if _ray_runs():
        _add(TOKENS, tokens, step="training", model="", kind="trained")


def set_rows_left(step: str, rows: int) -> None:
    """Set how many rows of a table are still to be written."""
    if _ray_runs():
        _set(LEFT, rows, step=step)


def set_engine_state(model: str, state: EngineState) -> None:
    """Set the load of this process's engine."""
    if not _ray_runs():
        return
    _set(REQUESTS, state.running, model=model, state="running")
    _set(REQUESTS, state.waiting, model=model, state="waiting")
    if state.kv_cache is not None:
        _set(KV_CACHE, state.kv_cache, model=model)


def set_pool_state(model: str, state: PoolState) -> None:
    """Set the state of an engine's replicas."""
    if not _ray_runs():
        return
    _set(REPLICAS, state.up, model=model, state="up")
    _set(REPLICAS, state.wanted, model=model, state="wanted")
    _set(SLOTS, state.slots, model=model, state="all")
    _set(SLOTS, state.used, model=model, state="used")
    _set(OPEN, state.open, model=model)


def _ray_runs() -> bool:
    # Looked up, not imported: a job prints --help and config errors without waiting for the import of Ray.
    ray = sys.modules.get("ray")
    return ray is not None and ray.is_initialized()


def _add(metric: Metric, value: int, **labels: str) -> None:
    if value:  # Ray refuses a counter's zero
        _instrument(metric).inc(value, labels)


def _set(metric: Metric, value: float, **labels: str) -> None:
    _instrument(metric).set(value, labels)


@cache
def _instrument(metric: Metric) -> Any:
    """Return Ray's object for a metric, created on first use in each process."""
    from ray.util import metrics

    kind = metrics.Counter if metric.kind == "counter" else metrics.Gauge
    return kind(metric.name, metric.description, metric.labels)

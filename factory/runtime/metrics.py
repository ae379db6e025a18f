"""What a run tells Prometheus while it goes on; `cluster/dashboards` shows it.

`ray.util.metrics` carries it to the agent of the node, which exports every name with `ray_` before
it and a counter's with `_total` behind. Rows and tokens are counted on the driver, once for each
shard that it sees written: a task that Ray repeats counts once, and the sums are those of the
manifests. Labels are names out of the config and the code, so there are as many series as tables,
reasons and models. Where no Ray runs, nothing happens.
"""

import sys
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

from factory.records import Counts


@dataclass(frozen=True)
class Metric:
    """One name that the factory exports."""

    name: str
    kind: Literal["counter", "gauge"]
    labels: tuple[str, ...]
    description: str

    @property
    def exported(self) -> str:
        """The name that Prometheus sees."""
        return f"ray_{self.name}" + ("_total" if self.kind == "counter" else "")


ROWS = Metric(
    "factory_rows", "counter", ("step", "status", "reason"), "Rows written, by table, status and reason of the reject."
)
TOKENS = Metric(
    "factory_tokens",
    "counter",
    ("step", "model", "kind"),
    "Tokens by table and model: prompt, cached (those of the prompt out of the prefix cache), output, trained.",
)
LEFT = Metric("factory_rows_left", "gauge", ("step",), "Rows of a table still to be made; of training its steps.")
REQUESTS = Metric(
    "factory_engine_requests", "gauge", ("model", "state"), "Requests of a replica: running, or waiting for their turn."
)
KV_CACHE = Metric("factory_engine_kv_cache_ratio", "gauge", ("model",), "Share of a replica's KV cache that is in use.")
METRICS = (ROWS, TOKENS, LEFT, REQUESTS, KV_CACHE)


@dataclass(frozen=True)
class EngineState:
    """What an engine replica is doing."""

    running: float
    waiting: float
    kv_cache: float | None = None
    """Between 0 and 1; None where there is no such cache to see."""


def count(step: str, counts: Counts, model: str = "") -> None:
    """Account for rows that were just written.

    Args:
        step: the table's name, such as `dialogues/rewrite-lima`.
        counts: of these rows alone.
        model: what made them, where a model did.
    """
    if not _ray_runs():
        return
    _add(ROWS, counts.ok, step=step, status="ok", reason="")
    for reason, rows in counts.rejected.items():
        _add(ROWS, rows, step=step, status="rejected", reason=reason)
    _add(TOKENS, counts.prompt_tokens, step=step, model=model, kind="prompt")
    _add(TOKENS, counts.cached_tokens, step=step, model=model, kind="cached")
    _add(TOKENS, counts.output_tokens, step=step, model=model, kind="output")


def count_trained(tokens: int) -> None:
    """Account for the tokens of a step of training; those of a step that is done again count again."""
    if _ray_runs():
        _add(TOKENS, tokens, step="training", model="", kind="trained")


def left(step: str, rows: int) -> None:
    """Say how many rows of a table are still to be made."""
    if _ray_runs():
        _set(LEFT, rows, step=step)


def tell_engine(model: str, state: EngineState) -> None:
    """Say what this process's engine is doing."""
    if not _ray_runs():
        return
    _set(REQUESTS, state.running, model=model, state="running")
    _set(REQUESTS, state.waiting, model=model, state="waiting")
    if state.kv_cache is not None:
        _set(KV_CACHE, state.kv_cache, model=model)


def _ray_runs() -> bool:
    # Looked up, not imported: a job prints its --help and its config's mistakes without waiting for Ray's import.
    ray = sys.modules.get("ray")
    return ray is not None and ray.is_initialized()


def _add(metric: Metric, value: int, **labels: str) -> None:
    if value:  # Ray refuses a counter's zero
        _made(metric).inc(value, labels)


def _set(metric: Metric, value: float, **labels: str) -> None:
    _made(metric).set(value, labels)


@cache
def _made(metric: Metric) -> Any:
    """Ray's object for a metric, made on first use in each process."""
    from ray.util import metrics

    kind = metrics.Counter if metric.kind == "counter" else metrics.Gauge
    return kind(metric.name, metric.description, metric.labels)

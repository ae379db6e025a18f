"""Reports every few seconds, from inside its actor, what an engine replica is doing.

Nothing here refers to the actor itself: a task of the event loop that did would keep it alive, and
with it vLLM's processes.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from factory.runtime import metrics
from factory.runtime.metrics import EngineState

INTERVAL_S = 5
"""Ray's agent reads values every 10 s."""
_RUNNING, _WAITING, _KV_CACHE = "vllm:num_requests_running", "vllm:num_requests_waiting", "vllm:kv_cache_usage_perc"


@dataclass
class Requests:
    """The open requests of a client, of which `at_once` may be in flight."""

    at_once: int
    open: int = 0

    def state(self) -> EngineState:
        """Return how many of them are in flight, and how many wait."""
        running = min(self.open, self.at_once)
        return EngineState(running, self.open - running)


def vllm_state() -> EngineState | None:
    """Return the state of the vLLM of this process; None before it has reported any.

    vLLM keeps these figures in prometheus_client's registry, where nobody scrapes them. Reading three
    of them every few seconds costs nothing; its own logger for Ray would set some dozens at every token.
    """
    from prometheus_client import REGISTRY

    found: dict[str, list[float]] = {}
    for metric in REGISTRY.restricted_registry([_RUNNING, _WAITING, _KV_CACHE]).collect():
        found[metric.name] = [sample.value for sample in metric.samples]
    if not all(found.get(name) for name in (_RUNNING, _WAITING, _KV_CACHE)):
        return None
    return EngineState(sum(found[_RUNNING]), sum(found[_WAITING]), max(found[_KV_CACHE]))


def report_periodically(model: str, look: Callable[[], EngineState | None]) -> "asyncio.Task[None]":
    """Start to report what a function returns; the task ends with the event loop, and must be kept."""
    return asyncio.get_running_loop().create_task(_report(model, look))


async def _report(model: str, look: Callable[[], EngineState | None]) -> None:
    while True:
        if state := look():
            metrics.set_engine_state(model, state)
        await asyncio.sleep(INTERVAL_S)

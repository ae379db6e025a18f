"""What an engine replica is doing, told every few seconds from inside its actor.

Nothing here refers to the actor itself: a task of the event loop that did would keep it alive, and
with it vLLM's processes.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from factory.runtime import metrics
from factory.runtime.metrics import EngineState

LOOK_EVERY_S = 5
"""Ray's agent takes values in every 10 s."""
_RUNNING, _WAITING, _KV_CACHE = "vllm:num_requests_running", "vllm:num_requests_waiting", "vllm:kv_cache_usage_perc"


@dataclass
class Requests:
    """The open requests of a client that asks so many at once."""

    at_once: int
    open: int = 0

    def state(self) -> EngineState:
        """How many of them are being answered, and how many wait for a place."""
        running = min(self.open, self.at_once)
        return EngineState(running, self.open - running)


def vllm_state() -> EngineState | None:
    """What the vLLM of this process says of itself; None before it has said anything.

    vLLM keeps these figures in prometheus_client's registry anyhow, where nobody scrapes them. To read three
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
    """Begin to tell what a function finds; the task ends with the event loop, and must be kept."""
    return asyncio.get_running_loop().create_task(_watch(model, look))


async def _watch(model: str, look: Callable[[], EngineState | None]) -> None:
    while True:
        if state := look():
            metrics.set_engine_state(model, state)
        await asyncio.sleep(LOOK_EVERY_S)

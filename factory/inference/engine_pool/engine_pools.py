"""The actor that owns the engine replicas of a run, and decides which engine gets the next one."""

import asyncio
from typing import Any

import ray

from factory.inference.engine_pool.pool import EnginePool
from factory.inference.engine_pool.pool_settings import PoolSettings
from factory.inference.engine_pool.router_reports import RouterReport
from factory.records import Completion, Request
from factory.runtime import metrics
from factory.runtime.pool_state import PoolState
from factory.runtime.ray_session import IO_TASK_CPUS

LOOK_EVERY_S = 0.5
LOOK_FAILURES = 20
"""So many failed looks in a row end the run."""


class EnginePools:
    """The actor that owns the pools; it lives on the driver's node, and ends with the driver.

    Args:
        can_add_nodes: whether the cluster's autoscaler adds nodes for what waits.
    """

    def __init__(self, can_add_nodes: bool) -> None:
        self._can_add_nodes = can_add_nodes
        self._pools: dict[str, EnginePool] = {}
        self._opened = asyncio.Condition()
        self._tasks: set[Any] = set()

    async def begin(self) -> None:
        """Start to look after the pools."""
        self._spawn(self._look())

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _look(self) -> None:
        failures = 0
        while failures < LOOK_FAILURES:
            try:
                self._look_once()
                failures = 0
            except Exception as problem:  # the head may not have answered
                failures, last = failures + 1, problem
            await asyncio.sleep(LOOK_EVERY_S)
        for pool in self._pools.values():  # no replica would start any more
            await pool.fail(last)

    def _look_once(self) -> None:
        for pool in self._pools.values():
            while pool.is_short and self._has_room(pool):
                pool.start()
        for pool in self._pools.values():
            others = [other for other in self._pools.values() if other is not pool]
            pool.look(others_wait=any(other.is_short or other.starting for other in others))
            metrics.set_pool_state(pool.settings.model, pool.state())

    def _has_room(self, pool: EnginePool) -> bool:
        """Return whether another replica leaves room for the tasks that read and write rows.

        GPUs are not compared: a replica waits for them by itself. On a CPU, engines get a machine each.
        """
        needed = pool.settings.resources.get("CPU", 0)
        if self._can_add_nodes or not needed:
            return True
        held = [other for other in self._pools.values() if other.up or other.starting]
        if _is_on_cpu(pool) and pool not in held:
            machines = sum(node["Alive"] for node in ray.nodes())
            if sum(map(_is_on_cpu, held)) >= machines:
                return False
        used = sum((len(other.up) + len(other.starting)) * other.settings.resources.get("CPU", 0) for other in held)
        return bool(ray.cluster_resources().get("CPU", 0) - used - needed >= IO_TASK_CPUS)

    async def begin_stage(self, settings: PoolSettings, stage: str, rows: int) -> None:
        """Open the pool of an engine, unless it is open, for a stage that is going to bring so many rows."""
        async with self._opened:
            if settings.key not in self._pools:
                self._pools[settings.key] = EnginePool(settings, self._spawn)
            self._pools[settings.key].expect(stage, rows)
            self._opened.notify_all()

    async def end_stage(self, key: str, stage: str) -> None:
        """Forget a stage."""
        self._pools[key].end_stage(stage)

    async def replicas(self, key: str, version: int) -> tuple[int, dict[int, Any]]:
        """Return the replicas for routers, once the pool is open; see `EnginePool.replicas`."""
        async with self._opened:  # a router may come before the driver's call
            await self._opened.wait_for(lambda: key in self._pools)
        return await self._pools[key].replicas(version)

    async def report(self, key: str, stage: str, router: str, report: RouterReport) -> None:
        """Take a router's report."""
        if key in self._pools:
            self._pools[key].report(stage, router, report)

    async def lose(self, key: str, number: int) -> None:
        """Forget a dead replica."""
        if key in self._pools:
            self._pools[key].lose(number)

    async def answer_suspect(self, key: str, request: Request) -> Completion:
        """Answer a request whose engine died, apart from all others."""
        return await self._pools[key].quarantine.answer(request)

    async def states(self) -> dict[str, PoolState]:
        """Return the state of each pool."""
        return {key: pool.state() for key, pool in self._pools.items()}

    async def close(self, key: str) -> None:
        """End an engine's replicas, and return once they are gone."""
        pool = self._pools.pop(key, None)
        if pool:
            await pool.close()

    async def close_all(self) -> None:
        """End all replicas."""
        await asyncio.gather(*map(self.close, list(self._pools)))


def _is_on_cpu(pool: EnginePool) -> bool:
    return bool(pool.settings.resources.get("CPU")) and not pool.settings.resources.get("GPU")

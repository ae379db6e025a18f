"""The replicas of one engine: as many as its unanswered requests need, between the fewest and the most."""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import ray
from ray.exceptions import RayError

from factory.inference.engine_pool.pool_settings import STALL_S, PoolSettings, wanted_replicas
from factory.inference.engine_pool.quarantine import Quarantine
from factory.inference.engine_pool.replica_actor import MAX_CALLS, EngineReplica, is_node_loss
from factory.inference.engine_pool.router_reports import RouterReport, RouterReports
from factory.runtime.pool_state import PoolState
from factory.runtime.ray_session import engine_start_error

IDLE_WHILE_OTHERS_WAIT_S = 3.0
"""How long a replica that is not needed stays while another engine of the run waits for room."""
START_FAILURES = 3
"""So many failed starts end the run if no replica is up."""
POLL_S = 30.0
CLOSE_S = 20.0
"""How long an engine may take to end by itself."""


@dataclass
class RunningReplica:
    """A replica that is up."""

    handle: Any
    up_at: float
    """Seconds since 1970."""
    load: int = 0
    answered: int = 0
    active_at: float = field(default_factory=time.monotonic)
    """When it last answered a request, or had none."""
    idle_since: float = field(default_factory=time.monotonic)
    borrowed: bool = False


class EnginePool:
    """The replicas of one engine, within the actor that owns them.

    Args:
        settings: of the pool.
        spawn: starts a coroutine as a task.
    """

    def __init__(self, settings: PoolSettings, spawn: Callable[[Any], Any]) -> None:
        self.settings = settings
        self.starting: dict[int, Any] = {}
        self.up: dict[int, RunningReplica] = {}
        self.quarantine = Quarantine(self, spawn)
        self._spawn = spawn
        self._actor = ray.remote(EngineReplica)
        self._retiring: list[Any] = []
        self._ended: list[tuple[float, float]] = []
        self._expected: dict[str, int] = {}
        self._reports = RouterReports()
        self._numbers = self._failures = self._version = 0
        self._changed = asyncio.Condition()
        self._problem: BaseException | None = None
        self._surplus_since: float | None = None

    def expect(self, stage: str, rows: int) -> None:
        """Note how many rows a stage is going to bring."""
        self._expected[stage] = rows

    def end_stage(self, stage: str) -> None:
        """Forget a stage."""
        self._expected.pop(stage, None)
        self._reports.forget(stage)

    def report(self, stage: str, router: str, report: RouterReport) -> None:
        """Take a router's report."""
        if stage in self._expected:
            self._reports.take(stage, router, report)

    @property
    def wanted(self) -> int:
        """How many replicas the unanswered rows need."""
        left = sum(self._expected.values()) - self._reports.answered
        return wanted_replicas(max(left, self._reports.open), self.settings.slots, self.settings.replicas)

    @property
    def is_short(self) -> bool:
        """Whether it has fewer replicas than it wants, or none yet."""
        return self._problem is None and len(self.up) + len(self.starting) < self.wanted

    def start(self) -> None:
        """Start another replica; it waits for a machine by itself."""
        self._numbers += 1
        options = {"max_restarts": 0, "max_concurrency": MAX_CALLS, **self.settings.ray_options}
        resources = dict(self.settings.resources)
        handle = self._actor.options(
            num_cpus=resources.pop("CPU", 0), num_gpus=resources.pop("GPU", 0), resources=resources, **options
        ).remote(self.settings)
        self.starting[self._numbers] = handle
        self._spawn(self._wait_until_up(self._numbers, handle))

    async def _wait_until_up(self, number: int, handle: Any) -> None:
        try:
            await handle.ready.remote()
        except RayError as problem:
            if self.starting.pop(number, None) is not None:
                self._failures += not is_node_loss(problem)
                if self._failures >= START_FAILURES and not self.up:
                    await self.fail(engine_start_error(problem))
            return
        if self.starting.pop(number, None) is not None:
            self._failures = 0
            self.up[number] = RunningReplica(handle, time.time())
            await self._publish()

    async def fail(self, problem: BaseException) -> None:
        """End all requests with an error."""
        self._problem = problem
        await self._publish()

    async def _publish(self) -> None:
        async with self._changed:
            self._version += 1
            self._changed.notify_all()

    def look(self, others_wait: bool) -> None:
        """Follow the reports: end replicas that are not needed, and those that hang."""
        now = time.monotonic()
        self._reports.empty_silent(now)
        for number, replica in self.up.items():
            load, answered = self._reports.load(number), self._reports.answered_by(number)
            if replica.borrowed or load or replica.load:
                replica.idle_since = now
            if replica.borrowed or answered != replica.answered or not load:
                replica.active_at = now
            replica.load, replica.answered = load, answered
        for number in [n for n, replica in self.up.items() if now - replica.active_at > STALL_S]:
            self.lose(number)
        self._end_surplus(now, IDLE_WHILE_OTHERS_WAIT_S if others_wait else self.settings.idle_s)

    def _end_surplus(self, now: float, idle_s: float) -> None:
        surplus = len(self.up) + len(self.starting) - self.wanted
        if surplus <= 0:
            self._surplus_since = None
            return
        self._surplus_since = self._surplus_since or now
        if now - self._surplus_since < idle_s:
            return
        for number in sorted(self.starting, reverse=True)[:surplus]:
            ray.kill(self.starting.pop(number))
            surplus -= 1
        idle = [n for n, replica in self.up.items() if not replica.borrowed and now - replica.idle_since > idle_s]
        for number in idle[:surplus]:
            self._spawn(self._retire(number))

    async def _retire(self, number: int) -> None:
        replica = self._remove(number)
        if replica:
            self._retiring.append(replica.handle)
            await self._publish()
            with suppress(RayError, TimeoutError):  # a router may just have given it a request
                await asyncio.wait_for(replica.handle.drained.remote(), STALL_S)
            await _close(replica.handle)
            self._retiring.remove(replica.handle)

    def _remove(self, number: int) -> RunningReplica | None:
        replica = self.up.pop(number, None)
        if replica:
            self._ended.append((replica.up_at, time.time()))
        return replica

    def lose(self, number: int) -> None:
        """Forget a dead replica; one that still lives is ended, as what it answers no longer counts."""
        replica = self._remove(number)
        if replica:
            ray.kill(replica.handle)
            self._spawn(self._publish())

    async def replicas(self, version: int) -> tuple[int, dict[int, Any]]:
        """Return the replicas for routers, by number, and their version, once it differs from a known one.

        Raises:
            ModelError: no replica can be started.
        """
        async with self._changed:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait_for(lambda: self._version != version), POLL_S)
        if self._problem:
            raise self._problem
        return self._version, {number: replica.handle for number, replica in self.up.items() if not replica.borrowed}

    async def borrow(self) -> tuple[int, Any]:
        """Return the replica with the fewest requests, with its number, once nobody else uses it."""
        while True:
            version, _ = await self.replicas(-1)
            free = [number for number, replica in self.up.items() if not replica.borrowed]
            if not free:
                await self.replicas(version)
                continue
            number = min(free, key=lambda n: self.up[n].load)
            replica = self.up[number]
            replica.borrowed = True
            await self._publish()
            try:
                await asyncio.wait_for(replica.handle.drained.remote(), STALL_S)
            except (RayError, TimeoutError):
                self.lose(number)
            else:
                return number, replica.handle

    def give_back(self, number: int) -> None:
        """Let others use a borrowed replica again."""
        if number in self.up:
            self.up[number].borrowed = False
            self._spawn(self._publish())

    def state(self) -> PoolState:
        """Return the pool as it is."""
        slots = self.settings.slots
        return PoolState(
            up=len(self.up),
            wanted=self.wanted,
            slots=slots * len(self.up),
            used=sum(min(self._reports.load(number), slots) for number in self.up),
            open=self._reports.open,
            lives=(*self._ended, *((replica.up_at, None) for replica in self.up.values())),
        )

    async def close(self) -> None:
        """End all replicas, and return once they are gone."""
        await self.fail(RuntimeError("the pool is closed"))
        for number in list(self.starting):
            ray.kill(self.starting.pop(number))
        handles = [replica.handle for number in list(self.up) if (replica := self._remove(number))]
        await asyncio.gather(*map(_close, [*handles, *self._retiring]))


async def _close(handle: Any) -> None:
    """End a replica: its engine first, whose processes would outlive a killed actor."""
    with suppress(RayError, TimeoutError):
        await asyncio.wait_for(handle.close.remote(), CLOSE_S)
    ray.kill(handle)

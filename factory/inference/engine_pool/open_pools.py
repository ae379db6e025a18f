"""The driver's side of the pools: opens them when a step needs an engine, and closes them when none does any more."""

import os
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import ray
from ray.autoscaler.v2.utils import is_autoscaler_v2
from ray.data import ActorPoolStrategy, Dataset
from ray.exceptions import RayError

from factory.inference.engine_pool.engine_pools import EnginePools
from factory.inference.engine_pool.pool_settings import EXTRA_SHARDS, PoolSettings, router_sizes
from factory.inference.engine_pool.replica_actor import MAX_CALLS
from factory.inference.engine_pool.router import Router
from factory.inference.engines.backend import ShardedWork
from factory.runtime.pool_state import PoolState
from factory.runtime.ray_session import driver_node_options

CLOSE_TIMEOUT_S = 60
REPORT_EVERY_S = 1.0


class OpenPools:
    """The pools of a run; the actor that owns them starts with the first."""

    def __init__(self) -> None:
        self.is_kept = False
        """Whether later steps may need the engines of this one."""
        self._actor: Any = None
        self._stages: dict[str, str] = {}

    def answer(self, settings: PoolSettings, work: ShardedWork) -> Dataset:
        """Return shards with the column `completions`, answered by the replicas of an engine.

        Args:
            settings: of its pool, which is opened unless it is open.
            work: the shards.
        """
        if self._actor is None:
            options = driver_node_options() | {"max_concurrency": MAX_CALLS}
            self._actor = ray.remote(EnginePools).options(**options).remote(_can_add_nodes())
            self._actor.begin.remote()
        if before := self._stages.get(settings.key):  # the wave before this one, which is written
            self._actor.end_stage.remote(settings.key, before)
        stage = uuid.uuid4().hex
        self._actor.begin_stage.remote(settings, stage, work.rows)  # not waited for: the router starts meanwhile
        self._stages[settings.key] = stage
        sizes = router_sizes(settings, work.rows, work.shard_rows, work.longest_to_mean)
        return work.shards.map_batches(
            Router,
            fn_constructor_args=(self._actor, settings.key, stage, sizes.slots, work.flag),
            batch_size=1,
            compute=ActorPoolStrategy(size=sizes.routers, max_tasks_in_flight_per_actor=sizes.shards + EXTRA_SHARDS),
            max_concurrency=sizes.shards,
            **driver_node_options(),
        )

    def release(self, key: str) -> None:
        """Note that the rows of an engine are all answered: its replicas end unless a later step may need them."""
        if self._actor is None or key not in self._stages:
            return
        ray.get(self._actor.end_stage.remote(key, self._stages.pop(key)))
        if not self.is_kept:
            ray.get(self._actor.close.remote(key))

    def state(self, key: str) -> PoolState | None:
        """Return the state of an engine's pool; None if it is not open."""
        return self._states().get(key)

    def _states(self) -> dict[str, PoolState]:
        return ray.get(self._actor.states.remote()) if self._actor is not None else {}

    @contextmanager
    def report_to(self, show: Callable[[list[PoolState]], None]) -> Iterator[None]:
        """Call a function with the states of the pools that are in use, every second, from a thread."""
        ended = threading.Event()

        def watch() -> None:
            while not ended.wait(REPORT_EVERY_S):
                with suppress(RayError):
                    show([state for key, state in self._states().items() if key in self._stages])

        thread = threading.Thread(target=watch, name="engine-states", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join(REPORT_EVERY_S)

    def close_all(self) -> None:
        """End all replicas."""
        if self._actor is not None and ray.is_initialized():
            with suppress(RayError):  # what is written is whole, whatever becomes of the engines
                ray.get(self._actor.close_all.remote(), timeout=CLOSE_TIMEOUT_S)
            ray.kill(self._actor)
            self._actor = None


def _can_add_nodes() -> bool:
    return bool(os.environ.get("RAY_ADDRESS")) and is_autoscaler_v2(fetch_from_server=True)


_kept: list[OpenPools] = []


@contextmanager
def open_pools() -> Iterator[OpenPools]:
    """Provide the pools of a run: those of an outer `keep_engines`, or new ones, which are closed at the end."""
    if _kept:
        yield _kept[-1]
        return
    pools = OpenPools()
    try:
        yield pools
    finally:
        pools.close_all()


@contextmanager
def keep_engines() -> Iterator[None]:
    """Keep the engines up between the steps inside, so that each engine starts once."""
    with open_pools() as pools:
        pools.is_kept = True
        _kept.append(pools)
        try:
            yield
        finally:
            _kept.remove(pools)

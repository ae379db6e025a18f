"""The actor around an engine: it answers single requests, and ends with its engine."""

import asyncio

from ray.exceptions import RayActorError

from factory.inference.engine_pool.pool_settings import PoolSettings
from factory.inference.engines.backend import EngineDiedError
from factory.records import Completion, Request

MAX_CALLS = 10_000
"""Calls that an actor of a pool takes at the same time: more than there are, so that none to close it waits."""


class EngineReplica:
    """The actor that holds one engine.

    Args:
        settings: of its pool.
    """

    def __init__(self, settings: PoolSettings) -> None:
        self._replica = settings.start()
        self._open = 0
        self._changed = asyncio.Condition()

    async def ready(self) -> None:
        """Return once the engine is up."""

    async def answer(self, request: Request) -> Completion:
        """Answer a request.

        Raises:
            EngineDiedError: the engine is dead, and with it this replica.
            FactoryError: the run cannot go on.
        """
        self._open += 1
        try:
            return await self._replica.complete(request)
        finally:
            self._open -= 1
            async with self._changed:
                self._changed.notify_all()

    async def drained(self) -> None:
        """Return once no request is open."""
        async with self._changed:
            await self._changed.wait_for(lambda: not self._open)

    async def close(self) -> None:
        """End the engine and its processes."""
        await asyncio.to_thread(self._replica.close)


def is_loss(result: object) -> bool:
    """Return whether the result of a call to a replica means that the replica is gone."""
    return isinstance(result, (EngineDiedError, RayActorError))


def is_node_loss(problem: object) -> bool:
    """Return whether a replica is gone with its machine, for which no request can be to blame."""
    return isinstance(problem, RayActorError) and (problem.preempted or "node has died" in str(problem))

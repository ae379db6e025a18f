"""The one writer of votes: a Serve deployment of one replica, which Serve starts again where it dies."""

import asyncio
from typing import Any

import ray
from ray import serve

from factory.errors import FactoryError
from factory.playground.votes_table import Vote, keep, open_table

APP = "feedback"
AT_ONCE = 64
"""Votes that are written together."""
GATHER_S = 0.02
"""How long a vote waits for others."""
TRIES = 4
"""How often a vote is told again where the keeper dies: 15 s, in which Serve starts another."""


@serve.deployment(num_replicas=1, max_ongoing_requests=1000, health_check_period_s=5, graceful_shutdown_timeout_s=10)
class Keeper:
    """Writes votes in small batches; a call returns once its vote is stored."""

    def __init__(self, output: str) -> None:
        self._table = open_table(output)

    @serve.batch(max_batch_size=AT_ONCE, batch_wait_timeout_s=GATHER_S, max_concurrent_batches=1)
    async def keep(self, votes: list[Vote]) -> list[bool]:
        """Write the votes that come together."""
        await asyncio.to_thread(keep, self._table, votes)
        return [True] * len(votes)


def bring_up(output: str) -> Any:
    """Deploy the keeper on this machine, where a local output and its lease are, and return its handle.

    Raises:
        FactoryError: it does not start.
    """
    here = {f"node:{ray.util.get_node_ip_address()}": 0.001}
    keeper = Keeper.options(ray_actor_options={"num_cpus": 0, "resources": here})  # type: ignore[attr-defined]
    try:
        return serve.run(keeper.bind(output), name=APP, route_prefix=None)
    except RuntimeError as problem:  # Serve's, which names the deployment alone
        raise FactoryError(f"feedback: the keeper of votes cannot start ({problem}); see Ray's logs") from problem


async def tell(keeper: Any, vote: Vote) -> bool:
    """Have a vote stored; False where that could not be."""
    for wait_s in (1, 4, 10, None)[-TRIES:]:
        try:
            return bool(await keeper.keep.remote(vote))
        except Exception:  # Serve raises what the write raises, and errors of its own where the replica died
            if wait_s is None:
                return False
            await asyncio.sleep(wait_s)
    return False

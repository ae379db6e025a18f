"""The only writer of votes: a Serve deployment with one replica, which Serve restarts if it dies."""

import asyncio
from typing import Any

import ray
from ray import serve

from factory.errors import FactoryError
from factory.playground.votes_table import Vote, open_table, write_votes

APP = "feedback"
BATCH_SIZE = 64
"""Maximum number of votes written together."""
BATCH_WAIT_S = 0.02
RETRY_WAITS_S = (1, 4, 10)
"""Waits before a vote is sent again; Serve restarts a writer within their sum."""


@serve.deployment(num_replicas=1, max_ongoing_requests=1000, health_check_period_s=5, graceful_shutdown_timeout_s=10)
class VoteWriter:
    """Writes votes in small batches; a call returns once its vote is stored."""

    def __init__(self, output: str) -> None:
        self._table = open_table(output)

    @serve.batch(max_batch_size=BATCH_SIZE, batch_wait_timeout_s=BATCH_WAIT_S, max_concurrent_batches=1)
    async def write(self, votes: list[Vote]) -> list[bool]:
        """Write a batch of votes."""
        await asyncio.to_thread(write_votes, self._table, votes)
        return [True] * len(votes)


def deploy(output: str) -> Any:
    """Deploy the writer on this machine, which has a local output and its lock, and return its handle.

    Raises:
        FactoryError: the writer does not start.
    """
    here = {f"node:{ray.util.get_node_ip_address()}": 0.001}
    writer = VoteWriter.options(ray_actor_options={"num_cpus": 0, "resources": here})  # type: ignore[attr-defined]
    try:
        return serve.run(writer.bind(output), name=APP, route_prefix=None)
    except RuntimeError as problem:  # Serve's message contains only the name of the deployment
        raise FactoryError(f"feedback: the vote writer cannot start ({problem}); see Ray's logs") from problem


async def store_vote(writer: Any, vote: Vote) -> bool:
    """Store a vote, with retries; return False on failure."""
    for wait_s in (*RETRY_WAITS_S, None):
        try:
            return bool(await writer.write.remote(vote))
        except Exception:  # the write's own errors, and Serve's if the replica died
            if wait_s is None:
                return False
            await asyncio.sleep(wait_s)
    return False

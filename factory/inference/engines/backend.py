"""The interface between the pipeline and an engine: what each kind of engine implements.

A backend takes a Ray dataset with one shard of work per row, `requests` (a pickled list of
`records.Request`) among its columns, and returns it with `completions` (a pickled list of
`records.Completion`, in the same order) and `engine_up`. Ray moves whole shards, so the rows of one
character, which are neighbors in a shard, reach the same replica, and its profile is computed once.
"""

import asyncio
import pickle
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from functools import partial
from typing import Any, ClassVar, Generic, TypeVar

from ray.data import Dataset

from factory.config import Section
from factory.inference.model_files import Located
from factory.records import Completion, Request

Settings = TypeVar("Settings", bound=Section)


class Backend(ABC, Generic[Settings]):
    """One kind of engine with its settings; `factory.inference.engines.registry` finds it by `kind`."""

    loads_model: ClassVar[bool] = False
    """Whether its replicas load the model on the cluster, so that two engines may not fit at the same time."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    @abstractmethod
    def locate(self) -> Located:
        """Find the model without loading it, and check that it can be used.

        Raises:
            ModelError: it does not exist, or cannot be used.
            UnreachableError: its host does not answer.
        """

    @abstractmethod
    def fingerprint_settings(self) -> dict[str, Any]:
        """Return the settings that change what rows contain; a change of one rebuilds the tables."""

    @abstractmethod
    def max_concurrency(self, gpu: bool) -> int:
        """Return how many requests one replica answers at the same time, on GPUs or on a CPU."""

    def missing_variable(self) -> str | None:
        """Return the environment variable that a run needs and that is not set here."""
        return None

    def prepare(self, model: Located, request: Request) -> Request:
        """Complete a request; runs in the tasks that read shards, away from the replicas."""
        return request

    @abstractmethod
    def answer(self, shards: Dataset, model: Located, seed: int, shard_rows: int) -> Dataset:
        """Add the columns `completions` and `engine_up` to shards with about `shard_rows` requests each."""


class Replica(ABC):
    """A process that answers requests, many at the same time."""

    started_at: float = 0
    """When it was ready (seconds since 1970); 0 if it does not start an engine."""

    @abstractmethod
    async def complete(self, request: Request) -> Completion:
        """Answer one request; a failure that is the request's own becomes the completion's `error`."""

    async def __call__(self, batch: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
        """Answer a batch of one shard; `requests` is emptied, as no later task reads it."""
        completions = await complete_all(self, batch["requests"][0])
        yield {**batch, "requests": [b""], "completions": [completions], "engine_up": [self.started_at]}


async def complete_all(replica: Replica, requests: bytes) -> bytes:
    """Answer the pickled requests of a shard at the same time; returns the pickled completions."""
    return pickle.dumps(await asyncio.gather(*map(replica.complete, pickle.loads(requests))))


def answer_in_tasks(replica: Replica, shards: Dataset) -> Dataset:
    """Answer shards in Ray tasks, each with a copy of a replica that costs nothing to start."""
    return shards.map(partial(_answer_in_task, replica))


def _answer_in_task(replica: Replica, shard: dict[str, Any]) -> dict[str, Any]:
    completions = asyncio.run(complete_all(replica, shard["requests"]))
    return {**shard, "requests": b"", "completions": completions, "engine_up": replica.started_at}

"""The interface between the pipeline and an engine: what each kind of engine implements.

A backend takes a Ray dataset with one shard of work per row, `requests` (a pickled list of
`records.Request`) among its columns, and returns it with `completions` (a pickled list of
`records.Completion`, in the same order).
"""

import asyncio
import pickle
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from factory.config import Section
from factory.inference.model_files import Located
from factory.records import Completion, Request
from factory.runtime.shutdown import StopFlag

if TYPE_CHECKING:  # the actors need neither, and Ray Data takes a second to import
    from ray.data import Dataset

    from factory.inference.engine_pool.open_pools import OpenPools

Settings = TypeVar("Settings", bound=Section)


class EngineDiedError(Exception):
    """The engine of a replica is dead, and one of the requests in it may be to blame."""


@dataclass(frozen=True)
class ShardedWork:
    """Shards to answer."""

    shards: "Dataset"
    """With the columns `requests`, `rows` (the number of input rows), `shard` (its name) and `state` (the folder of its
    table and settings for what an engine must find again after a kill, which the end of the table deletes)."""
    shard_rows: int
    """Input rows per shard, on average."""
    rows: int
    """All input rows."""
    flag: StopFlag
    """No shard is begun once it is set."""
    longest_to_mean: float = 0
    """The longest reply over the mean one, both in tokens; 0 if unknown."""


class Backend(ABC, Generic[Settings]):
    """One kind of engine with its settings; `factory.inference.engines.registry` finds it by `kind`."""

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
    def answer(self, work: ShardedWork, model: Located, seed: int, pools: "OpenPools") -> "Dataset":
        """Add the column `completions` to shards; an engine that takes long to start uses the pools of the run."""

    def open_work(self, states: Sequence[str]) -> str:
        """Return in a few words what goes on without the run, as far as `state` folders show it; mostly nothing."""
        return ""

    def pool_key(self, model: Located, seed: int) -> str:
        """Return what the engine's pool is found by; empty without a pool."""
        return ""


class Replica(ABC):
    """An engine, or a client of one, that answers many requests at the same time."""

    flag: StopFlag | None = None
    """No shard is begun once it is set."""

    @abstractmethod
    async def complete(self, request: Request) -> Completion:
        """Answer one request; a failure that is the request's own becomes the completion's `error`.

        Raises:
            EngineDiedError: the engine is dead.
            FactoryError: the run cannot go on.
        """

    def close(self) -> None:
        """End what would outlive this process."""
        return

    async def __call__(self, batch: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
        """Answer a batch of one shard, as an actor of Ray Data; `requests` is emptied, as no later task reads it.

        Shards are read long before they are begun: once the run is to stop, they count as not read.
        """
        if self.flag is not None and await asyncio.to_thread(self.flag.is_set):
            yield {**batch, "is_read": [False], "requests": [b""], "completions": [b""]}
            return
        completions = await asyncio.gather(*map(self.complete, pickle.loads(batch["requests"][0])))
        yield {**batch, "requests": [b""], "completions": [pickle.dumps(completions)]}

"""A backend whose engines are in the pools of the run, because they take long to start."""

import json
from abc import abstractmethod
from dataclasses import asdict
from typing import TYPE_CHECKING

from factory.inference.engine_pool.pool_settings import PoolSettings
from factory.inference.engines.backend import Backend, Settings, ShardedWork
from factory.inference.model_files import Located

if TYPE_CHECKING:
    from ray.data import Dataset

    from factory.inference.engine_pool.open_pools import OpenPools


class PooledBackend(Backend[Settings]):
    """Answers shards with the replicas of a pool, which all steps with the same engine share."""

    @abstractmethod
    def pool_settings(self, model: Located, seed: int) -> PoolSettings:
        """Return how to start a replica, and how many there may be."""

    def check_room(self) -> None:
        """Check that the cluster can hold the fewest replicas.

        Raises:
            ConfigError: it cannot.
        """

    def pool_key(self, model: Located, seed: int) -> str:
        return json.dumps([self.settings.model_dump(mode="json"), asdict(model), seed], sort_keys=True)

    def answer(self, work: ShardedWork, model: Located, seed: int, pools: "OpenPools") -> "Dataset":
        self.check_room()
        return pools.answer(self.pool_settings(model, seed), work)

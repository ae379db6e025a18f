"""Text generation by any OpenAI-compatible endpoint: gpt-4o, or models that this factory serves."""

import math
import os
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from pydantic import SecretStr
from ray.data import ActorPoolStrategy, Dataset

from factory.config import LOOPBACK, OpenAIEngine
from factory.inference.engines.backend import Backend, ShardedWork
from factory.inference.engines.batch_client import check_batches
from factory.inference.engines.batch_records import open_batches
from factory.inference.engines.batch_replica import BatchReplica
from factory.inference.engines.endpoint_check import check_endpoint
from factory.inference.engines.endpoint_key import api_key
from factory.inference.engines.endpoint_limits import share_of_limits
from factory.inference.engines.openai_replica import OpenAIReplica
from factory.inference.engines.shards_in_flight import shards_in_flight
from factory.inference.model_files import Located
from factory.runtime.ray_session import driver_node_options

REQUESTS_PER_ACTOR = 512
"""One request costs its process 4 ms of CPU time: it sends 250 per second, half as many as are open at 2 s each."""
BATCHES_PER_ACTOR = 64
ENDPOINT = "endpoint"
"""In place of a revision, which endpoints do not report; the URL decides nothing, as an endpoint may move."""


class OpenAIBackend(Backend[OpenAIEngine]):
    """Answers shards of requests through an endpoint, which promises nothing for a seed."""

    def locate(self) -> Located:
        check_endpoint(self.settings)
        if self.settings.batch:
            check_batches(self.settings)
        return Located(self.settings.model, ENDPOINT)

    def fingerprint_settings(self) -> dict[str, Any]:
        given = self.settings.model_dump(mode="json", include={"not_sent", "extra_body"}, exclude_defaults=True)
        return {"structured": self.settings.structured, **given}

    def max_concurrency(self, gpu: bool) -> int:
        return self.settings.max_concurrency

    def missing_variable(self) -> str | None:
        name = self.settings.api_key_env
        return name if name and name not in os.environ else None

    def open_work(self, states: Sequence[str]) -> str:
        batches, rows = open_batches(states) if self.settings.batch else (0, 0)
        return f"{rows:,} rows in {batches:,} batches at {self.settings.model}" if batches else ""

    def answer(self, work: ShardedWork, model: Located, seed: int, pools: Any) -> Dataset:
        # Read here: on a cluster the clients' machines lack the environment of the user who started the run.
        key = SecretStr(api_key(self.settings))
        where: dict[str, Any] = {"num_cpus": 0.1}  # it waits for others
        if urlsplit(self.settings.base_url).hostname in LOOPBACK:  # the endpoint is on the machine of the driver
            where = driver_node_options()
        client: type[OpenAIReplica] = OpenAIReplica
        arguments: tuple[Any, ...]
        if self.settings.batch:
            actors = math.ceil(self.settings.max_batches / BATCHES_PER_ACTOR)
            concurrent = in_flight = math.ceil(self.settings.max_batches / actors)
            client, arguments = BatchReplica, (self.settings, key, work.flag)
        else:
            actors, at_once = split_concurrency(self.settings.max_concurrency)
            concurrent, in_flight = shards_in_flight(at_once, work.shard_rows)
            arguments = (share_of_limits(self.settings, actors), key, at_once, work.flag)
        return work.shards.map_batches(
            client,
            fn_constructor_args=arguments,
            batch_size=1,
            compute=ActorPoolStrategy(size=actors, max_tasks_in_flight_per_actor=in_flight),
            max_concurrency=concurrent,
            **where,
        )


def split_concurrency(concurrency: int) -> tuple[int, int]:
    """Return how many client actors share the allowed concurrent requests, and how many each may send."""
    actors = math.ceil(concurrency / REQUESTS_PER_ACTOR)
    return actors, concurrency // actors

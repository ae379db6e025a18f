"""Text generation by any OpenAI-compatible endpoint: gpt-4o, or models that this factory serves.

The `openai` client retries 408, 409, 429, 5xx, time-outs and lost connections with back-off, and
waits as long as Retry-After asks (up to two minutes). If a request fails nevertheless, or is not
answered by its deadline, the failure is the row's own only if the endpoint answers other requests;
otherwise the run ends, and the same command goes on later.
"""

import asyncio
import itertools
import json
import math
import os
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cached_property
from typing import Any
from urllib.parse import urlsplit

import ray
from pydantic import SecretStr
from ray.data import ActorPoolStrategy, Dataset
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from factory.config import LOOPBACK, OpenAIEngine
from factory.inference.engines.backend import Backend, Replica, ShardedWork
from factory.inference.engines.endpoint_check import check_endpoint
from factory.inference.engines.endpoint_errors import max_rounds, pause_seconds, row_error, run_error
from factory.inference.engines.endpoint_key import api_key
from factory.inference.engines.endpoint_reply import parse_reply
from factory.inference.engines.engine_metrics import Requests, report_periodically
from factory.inference.engines.shards_in_flight import shards_in_flight
from factory.inference.model_files import Located
from factory.inference.multi_turn import Reply, RowError, attempt_sampling, generate_turns
from factory.records import Completion, Message, Request
from factory.text.control_tokens import escape_control_tokens

REQUESTS_PER_ACTOR = 512
"""One request costs its process 4 ms of CPU time: it sends 250 per second, half as many as are open at 2 s each."""
ENDPOINT = "endpoint"
"""In place of a revision, which endpoints do not report; the URL decides nothing, as an endpoint may move."""
_PING = Request((Message("user", 'Answer with the JSON object {"ok": true}.'),), schema='{"type": "object"}')


class OpenAIBackend(Backend[OpenAIEngine]):
    """Answers shards of requests through an endpoint, which promises nothing for a seed."""

    def locate(self) -> Located:
        check_endpoint(self.settings)
        return Located(self.settings.model, ENDPOINT)

    def fingerprint_settings(self) -> dict[str, Any]:
        return {"structured": self.settings.structured}

    def max_concurrency(self, gpu: bool) -> int:
        return self.settings.max_concurrency

    def missing_variable(self) -> str | None:
        name = self.settings.api_key_env
        return name if name and name not in os.environ else None

    def answer(self, work: ShardedWork, model: Located, seed: int, pools: Any) -> Dataset:
        actors, at_once = split_concurrency(self.settings.max_concurrency)
        concurrent, in_flight = shards_in_flight(at_once, work.shard_rows)
        # Read here: on a cluster the clients' machines lack the environment of the user who started the run.
        key = SecretStr(api_key(self.settings))
        where: dict[str, Any] = {"num_cpus": 0.1}  # it waits for others
        if urlsplit(self.settings.base_url).hostname in LOOPBACK:  # the endpoint is on the machine of the driver
            here = ray.get_runtime_context().get_node_id()
            where = {"num_cpus": 0, "scheduling_strategy": NodeAffinitySchedulingStrategy(here, soft=False)}
        return work.shards.map_batches(
            OpenAIReplica,
            fn_constructor_args=(self.settings, key, at_once),
            batch_size=1,
            compute=ActorPoolStrategy(size=actors, max_tasks_in_flight_per_actor=in_flight),
            max_concurrency=concurrent,
            **where,
        )


def split_concurrency(concurrency: int) -> tuple[int, int]:
    """Return how many client actors share the allowed concurrent requests, and how many each may send."""
    actors = math.ceil(concurrency / REQUESTS_PER_ACTOR)
    return actors, concurrency // actors


class OpenAIReplica(Replica):
    """The actor that sends requests to an endpoint.

    Args:
        engine: the endpoint.
        key: its key, wrapped so that no log and no error shows it.
        at_once: the most requests in flight.
    """

    def __init__(self, engine: OpenAIEngine, key: SecretStr, at_once: int) -> None:
        self._engine = engine
        self._key = key
        self._slots = asyncio.Semaphore(at_once)
        self._requests = Requests(at_once)
        self._in_doubt = asyncio.Lock()
        self._answered_at = -math.inf
        self._clients: dict[int, list[Any]] = {}
        self._turns = itertools.count()

    def _clients_for(self, max_tokens: int) -> list[Any]:
        """Return a client per address for replies of up to `max_tokens`, which bound the bytes that they read."""
        if max_tokens not in self._clients:
            from factory.inference.engines.http_clients import (
                make_client,  # it takes a second, also where shards are only read
            )

            engine = self._engine
            addresses = [engine.model_copy(update={"base_url": url}) for url in (engine.base_url, *engine.other_urls)]
            clients = [make_client(address, self._key, max_tokens=max_tokens) for address in addresses]
            self._clients[max_tokens] = clients
        return self._clients[max_tokens]

    @cached_property
    def _watching(self) -> "asyncio.Task[None]":
        return report_periodically(self._engine.model, self._requests.state)

    async def complete(self, request: Request) -> Completion:
        _ = self._watching
        if request.score_only:
            return Completion(error="engine_error", detail="an endpoint does not return how likely a given reply is")
        self._requests.open += 1
        try:
            async with self._slots:
                return await generate_turns(request, lambda messages, again: self._reply(messages, request, again))
        finally:
            self._requests.open -= 1

    async def _reply(self, messages: Sequence[Message], request: Request, again: bool) -> Reply:
        from openai import APIError

        failures, deadline = 0, time.monotonic() + self._engine.deadline_s
        clients, turn = self._clients_for(request.sampling.max_tokens), next(self._turns)
        while True:
            try:
                async with asyncio.timeout(deadline - time.monotonic()):
                    return await self._send(clients[(turn + failures) % len(clients)], messages, request, again)
            except TimeoutError:
                await self._raise_if_endpoint_down(request)
                raise RowError("engine_error", f"not answered in {self._engine.deadline_s:g} s") from None
            except APIError as problem:
                failures += 1
                await self._raise_if_endpoint_down(request)
                if failures >= max_rounds(problem):
                    raise row_error(self._key, problem) from None
                await asyncio.sleep(pause_seconds(problem))

    async def _raise_if_endpoint_down(self, failed: Request) -> None:
        """Return once the endpoint has answered another request, a small one of ours if need be; else end the run."""
        from openai import APIError

        failed_at = time.monotonic()
        problem: APIError | None = None
        ping = replace(_PING, schema=failed.schema and _PING.schema, sampling=failed.sampling)
        async with self._in_doubt:
            for client in self._clients_for(failed.sampling.max_tokens):
                if self._answered_at > failed_at:  # another may have been answered meanwhile
                    return
                try:
                    with suppress(RowError):  # that too is an answer
                        await self._send(client.with_options(max_retries=3), ping.messages, ping)
                    return
                except APIError as said:
                    problem = said
        if problem and self._answered_at <= failed_at:
            raise run_error(self._engine, self._key, problem) from None

    async def _send(self, client: Any, messages: Sequence[Message], request: Request, again: bool = False) -> Reply:
        from openai import APIResponseValidationError

        sampling = attempt_sampling(request, again)
        if not sampling["frequency_penalty"]:
            del sampling["frequency_penalty"]
        special = self._engine.special_tokens
        body = sampling | response_format(self._engine.structured, request.schema) | {"model": self._engine.model}
        if request.logprobs and self._engine.logprobs:
            body |= {"logprobs": True, "top_logprobs": request.logprobs}
        body["messages"] = [{"role": m.role, "content": escape_control_tokens(m.content, special)} for m in messages]
        answer = await client.chat.completions.with_raw_response.create(**body)
        try:  # the client itself checks nothing
            reply = parse_reply(json.loads(answer.content), request.sampling.max_tokens)
        except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError):
            raise APIResponseValidationError(answer.http_response, None) from None
        self._answered_at = time.monotonic()
        return reply


def response_format(structured: str, schema: str | None) -> dict[str, Any]:
    """Return the parameters of a request that set the shape of the reply; none for free text."""
    if schema is None or structured == "none":
        return {}
    named = {"json_schema": {"name": "reply", "schema": json.loads(schema)}} if structured == "json_schema" else {}
    return {"response_format": {"type": structured, **named}}

"""Text generation by any OpenAI-compatible endpoint: gpt-4o, or a fleet of one's own.

The `openai` client retries 408, 409, 429, 5xx and time-outs with back-off and honours
Retry-After. What is left after that is one row's failure, until many in a row say that the
endpoint is gone: then the run stops, and the same command goes on later.
"""

import asyncio
import json
import math
import os
import pickle
import re
from collections.abc import AsyncIterator
from functools import cached_property
from typing import Any

from ray.data import ActorPoolStrategy, Dataset

from factory.config import OpenAIEngine, Sampling
from factory.engine.conversation import Reply, RowError, carry_on
from factory.errors import ModelError, UnreachableError
from factory.records import Completion, Message, Request

REQUESTS_PER_ACTOR = 128
GONE_AFTER = 32
"""So many failed requests in a row, each retried already, mean that the endpoint is gone."""

_CONTROL_TOKEN = re.compile(r"<(?=\|[^|<>]{1,40}\|>)")


class OpenAIGeneration:
    """Answers shards of requests through an endpoint.

    Args:
        engine: the endpoint and how hard to press it.
        sampling: how tokens are drawn.
        seed: unused; endpoints do not promise the same reply for the same seed.
        shard_rows: about how many requests a shard holds.
    """

    def __init__(self, engine: OpenAIEngine, sampling: Sampling, seed: int, shard_rows: int) -> None:
        self._engine = engine
        self._sampling = sampling
        self._shard_rows = shard_rows
        self.model = engine.model

    def prepare(self, requests: list[Request]) -> dict[str, Any]:
        """Nothing more than the requests is needed."""
        return {}

    def __call__(self, shards: Dataset) -> Dataset:
        actors = math.ceil(self._engine.concurrency / REQUESTS_PER_ACTOR)
        at_once = math.ceil(self._engine.concurrency / actors)
        shards_at_once = 1 + math.ceil(1.25 * at_once / self._shard_rows)
        return shards.map_batches(
            ShardClient,
            fn_constructor_args=(self._engine, self._sampling, at_once),
            batch_size=1,
            compute=ActorPoolStrategy(size=actors, max_tasks_in_flight_per_actor=shards_at_once + 1),
            max_concurrency=shards_at_once,
            num_cpus=0.1,  # it waits for others
        )


class ShardClient:
    """The actor that answers whole shards through one client."""

    def __init__(self, engine: OpenAIEngine, sampling: Sampling, at_once: int) -> None:
        self._engine = engine
        self._sampling = sampling
        self._at_once = at_once
        self._failures_in_a_row = 0

    # Made on first use, inside the event loop that they belong to.
    @cached_property
    def _client(self) -> Any:
        from openai import AsyncOpenAI

        engine = self._engine
        return AsyncOpenAI(
            base_url=engine.base_url,
            api_key=api_key(engine),
            timeout=engine.timeout_s,
            max_retries=engine.max_retries,
        )

    @cached_property
    def _places(self) -> asyncio.Semaphore:
        return asyncio.Semaphore(self._at_once)

    async def __call__(self, batch: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
        (requests,) = (pickle.loads(data) for data in batch["requests"])
        completions = await asyncio.gather(*map(self._complete, requests))
        yield {**batch, "requests": [b""], "completions": [pickle.dumps(completions)]}

    async def _complete(self, request: Request) -> Completion:
        async def ask(messages: list[Message]) -> Reply:
            return await self._reply(messages, request.schema)

        async with self._places:
            return await carry_on(request, ask)

    async def _reply(self, messages: list[Message], schema: str | None) -> Reply:
        import openai

        try:
            answer = await self._client.chat.completions.create(
                model=self._engine.model,
                messages=[{"role": m.role, "content": neutral(m.content)} for m in messages],
                temperature=self._sampling.temperature,
                top_p=self._sampling.top_p,
                max_tokens=self._sampling.max_tokens,
                **self._response_format(schema),
            )
        except (openai.AuthenticationError, openai.PermissionDeniedError, openai.NotFoundError) as problem:
            raise ModelError(
                f"engine {self._engine.base_url} refuses model {self._engine.model!r} ({problem.status_code}): "
                f"check engine.model, engine.base_url and ${self._engine.api_key_env}"
            ) from None
        except openai.BadRequestError as problem:
            raise RowError("engine_error", problem.message) from None
        except openai.OpenAIError as problem:
            self._failures_in_a_row += 1
            if self._failures_in_a_row >= GONE_AFTER:
                raise UnreachableError(
                    f"engine {self._engine.base_url}: {GONE_AFTER} requests in a row failed after "
                    f"{self._engine.max_retries} retries each, the last with {type(problem).__name__}; run the same command again once it answers"
                ) from None
            raise RowError("engine_error", f"{type(problem).__name__}: {problem}") from None
        self._failures_in_a_row = 0
        return _read(answer)

    def _response_format(self, schema: str | None) -> dict[str, Any]:
        if schema is None or self._engine.structured == "none":
            return {}
        if self._engine.structured == "json_object":
            return {"response_format": {"type": "json_object"}}
        named = {"name": "reply", "schema": json.loads(schema)}
        return {"response_format": {"type": "json_schema", "json_schema": named}}


def _read(answer: Any) -> Reply:
    if not answer.choices:
        raise RowError("engine_error", "the endpoint answered without choices")
    (choice,) = answer.choices[:1]
    if choice.finish_reason == "content_filter" or choice.message.content is None:
        raise RowError("refused", choice.message.refusal or f"finish reason {choice.finish_reason}")
    usage = answer.usage
    details = usage and usage.prompt_tokens_details
    return Reply(
        text=choice.message.content,
        prompt_tokens=usage.prompt_tokens if usage else 0,
        output_tokens=usage.completion_tokens if usage else 0,
        cached_tokens=(details and details.cached_tokens) or 0,
        truncated=choice.finish_reason == "length",
    )


def api_key(engine: OpenAIEngine) -> str:
    """The key out of the environment.

    Raises:
        ModelError: it is not set here.
    """
    key = os.environ.get(engine.api_key_env)
    if not key:
        raise ModelError(f"engine.api_key_env: ${engine.api_key_env} is not set; export the key for {engine.base_url}")
    return key


def check_endpoint(engine: OpenAIEngine) -> None:
    """Ask the endpoint for its list of models.

    Raises:
        ModelError: no key, a refused one, or a list that lacks the model.
        UnreachableError: it does not answer.
    """
    import openai

    client = openai.OpenAI(base_url=engine.base_url, api_key=api_key(engine), timeout=10, max_retries=2)
    try:
        names = {model.id for model in client.models.list()}
    except openai.NotFoundError:
        return  # an endpoint without a list of models
    except openai.APIConnectionError as problem:
        raise UnreachableError(f"engine.base_url {engine.base_url}: does not answer ({problem})") from None
    except openai.APIStatusError as problem:
        raise ModelError(
            f"engine.base_url {engine.base_url} answers {problem.status_code}; check it and ${engine.api_key_env}"
        ) from None
    if names and engine.model not in names:
        known = ", ".join(sorted(names)[:8])
        raise ModelError(f"engine.model {engine.model!r}: {engine.base_url} does not have it; it has {known}")


def neutral(text: str) -> str:
    """Break control tokens such as `<|im_end|>` in data with a zero-width space.

    A server tokenises the messages itself, and some turn such strings into the real thing.
    """
    return _CONTROL_TOKEN.sub("<\u200b", text)

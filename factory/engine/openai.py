"""Text generation by any OpenAI-compatible endpoint: gpt-4o, or a fleet of one's own.

The `openai` client retries 408, 409, 429, 5xx, time-outs and lost connections with back-off, and
waits as long as Retry-After asks (up to two minutes). A request that fails all the same is a row's
failure only if the endpoint answers others; else the run ends, and the same command goes on later.
"""

import asyncio
import json
import math
import os
import pickle
import re
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from difflib import get_close_matches
from functools import cached_property
from typing import Any
from urllib.parse import urlsplit

import ray
from pydantic import SecretStr
from ray.data import ActorPoolStrategy, Dataset
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from factory.config import OpenAIEngine, Sampling
from factory.control_marks import neutral
from factory.credentials import scrubbed
from factory.engine.conversation import NoReplyError, Reply, RowError, carry_on, temperature_of
from factory.engine.watching import Requests, watch
from factory.engine.window import shards_in_flight
from factory.errors import ModelError, UnreachableError, UserError
from factory.records import Completion, Message, Request, TokenChoice
from factory.web_guard import LOOPBACK

REQUESTS_PER_ACTOR = 128
ENDING_TOKENS = 12
"""So many tokens from the end hold a verdict's score."""
_PING = Request((Message("user", 'Answer with the JSON object {"ok": true}.'),), schema='{"type": "object"}')


class OpenAIGeneration:
    """Answers shards of requests through an endpoint, which promises nothing for a seed."""

    def __init__(self, engine: OpenAIEngine, sampling: Sampling, seed: int, shard_rows: int) -> None:
        self._engine = engine
        self._sampling = sampling
        self._shard_rows = shard_rows
        self.model = engine.model

    def prepare(self, requests: list[Request]) -> dict[str, Any]:
        """Nothing more than the requests is needed."""
        return {}

    def __call__(self, shards: Dataset) -> Dataset:
        actors, at_once = shares(self._engine.concurrency)
        concurrent, in_flight = shards_in_flight(at_once, self._shard_rows)
        # Read here: on a cluster the clients' machines have not the environment of who started the run.
        key = SecretStr(api_key(self._engine))
        where: dict[str, Any] = {"num_cpus": 0.1}  # it waits for others
        if urlsplit(self._engine.base_url).hostname in LOOPBACK:  # the endpoint is on the machine of the driver
            here = ray.get_runtime_context().get_node_id()
            where = {"num_cpus": 0, "scheduling_strategy": NodeAffinitySchedulingStrategy(here, soft=False)}
        return shards.map_batches(
            ShardClient,
            fn_constructor_args=(self._engine, key, self._sampling, at_once),
            batch_size=1,
            compute=ActorPoolStrategy(size=actors, max_tasks_in_flight_per_actor=in_flight),
            max_concurrency=concurrent,
            **where,
        )


def shares(concurrency: int) -> tuple[int, int]:
    """Return how many client actors share the allowed concurrent requests, and how many each may send."""
    actors = math.ceil(concurrency / REQUESTS_PER_ACTOR)
    return actors, concurrency // actors


class ShardClient:
    """The actor that answers whole shards through one client.

    Args:
        engine: which endpoint.
        key: its key, in a wrapper that shows itself in no log and no error.
        sampling: how tokens are drawn.
        at_once: the most requests in flight.
    """

    def __init__(self, engine: OpenAIEngine, key: SecretStr, sampling: Sampling, at_once: int) -> None:
        self._engine = engine
        self._key = key
        self._sampling = {name: value for name, value in sampling if name != "frequency_penalty" or value}
        self._places = asyncio.Semaphore(at_once)
        self._requests = Requests(at_once)
        self._in_doubt = asyncio.Lock()
        self._answered_at = -math.inf

    @cached_property
    def _client(self) -> Any:
        import openai  # not above: it takes a second, also where shards are only read

        timeout = openai.Timeout(self._engine.timeout_s, connect=min(10, self._engine.timeout_s))
        key = self._key.get_secret_value()
        client = openai.AsyncOpenAI(base_url=self._engine.base_url, api_key=key, timeout=timeout)
        return client.with_options(max_retries=self._engine.max_retries)

    @cached_property
    def _watching(self) -> "asyncio.Task[None]":
        return watch(self._engine.model, self._requests.state)

    async def __call__(self, batch: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
        _ = self._watching
        (requests,) = (pickle.loads(data) for data in batch["requests"])
        self._requests.open += len(requests)
        completions = await asyncio.gather(*map(self._complete, requests))
        yield {**batch, "requests": [b""], "completions": [pickle.dumps(completions)]}

    async def _complete(self, request: Request) -> Completion:
        try:
            if request.weigh:
                return Completion(error="engine_error", detail="an endpoint does not tell how likely a given reply is")
            async with self._places:
                return await carry_on(request, lambda messages, again: self._reply(messages, request, again))
        finally:
            self._requests.open -= 1

    async def _reply(self, messages: Sequence[Message], request: Request, again: bool) -> Reply:
        from openai import APIError

        failures = 0
        while True:
            try:
                return await self._ask(self._client, messages, request, again)
            except APIError as problem:
                failures += 1
                await self._must_answer_others(request.schema)
                if failures >= _rounds(problem):
                    raise _row_error(self._key, problem) from None

    async def _must_answer_others(self, schema: str | None) -> None:
        """Return once the endpoint has answered another request, a small one of ours if need be; else end the run."""
        from openai import APIError

        failed_at, client = time.monotonic(), self._client.with_options(max_retries=3)
        async with self._in_doubt:
            try:
                if self._answered_at <= failed_at:
                    with suppress(RowError):  # that too is an answer
                        await self._ask(client, _PING.messages, Request((), schema=schema and _PING.schema))
            except APIError as problem:
                if self._answered_at <= failed_at:  # another may have been answered meanwhile
                    raise _end_of_run(self._engine, self._key, problem) from None

    async def _ask(self, client: Any, messages: Sequence[Message], request: Request, again: bool = False) -> Reply:
        from openai import APIResponseValidationError

        asked = self._sampling | response_format(self._engine.structured, request.schema)
        asked |= {
            "model": self._engine.model,
            "temperature": temperature_of(request, self._sampling["temperature"], again),
        }
        if request.logprobs and self._engine.logprobs:
            asked |= {"logprobs": True, "top_logprobs": request.logprobs}
        special = self._engine.special_tokens
        asked["messages"] = [{"role": m.role, "content": neutral(m.content, special)} for m in messages]
        answer = await client.chat.completions.with_raw_response.create(**asked)
        try:  # the client itself checks nothing
            reply = _read(json.loads(answer.content))
        except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError):
            raise APIResponseValidationError(answer.http_response, None) from None
        self._answered_at = time.monotonic()
        return reply


def response_format(structured: str, schema: str | None) -> dict[str, Any]:
    """The parameters of a request by which an endpoint is told the shape of the reply; none for free text."""
    if schema is None or structured == "none":
        return {}
    named = {"json_schema": {"name": "reply", "schema": json.loads(schema)}} if structured == "json_schema" else {}
    return {"response_format": {"type": structured, **named}}


def _read(answer: Any) -> Reply:
    choice, usage = answer["choices"][0], answer.get("usage") or {}
    text, finish_reason = choice["message"].get("content"), choice.get("finish_reason")
    refusal = choice["message"].get("refusal") or (finish_reason == "content_filter" and (text or finish_reason))
    if refusal or finish_reason in ("error", "abort") or (text is None and finish_reason != "length"):
        what = str(refusal or f"no reply: {json.dumps(choice)}")
        raise NoReplyError("refused" if refusal else "engine_error", what)
    (text or "").encode()  # fails where it is no text, or has half characters
    cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens")
    asked, said, cached = (int(n or 0) for n in (usage.get("prompt_tokens"), usage.get("completion_tokens"), cached))
    ending = _ending(choice.get("logprobs"))
    return Reply(text or "", asked, said, cached, truncated=finish_reason == "length", ending=ending)


def _ending(logprobs: Any) -> tuple[TokenChoice, ...]:
    """The last tokens of a reply; all of them, with twenty others each, would be a thousand times the text."""
    return tuple(
        TokenChoice(place["token"], {likely["token"]: float(likely["logprob"]) for likely in place["top_logprobs"]})
        for place in ((logprobs or {}).get("content") or [])[-ENDING_TOKENS:]
    )


def _rounds(problem: Any) -> int:
    """How often a request may use up its retries: again where it was perhaps another that was at fault."""
    status = getattr(problem, "status_code", 0)
    return 10 if status in (429, 503) else 1 if 400 <= status < 500 and status not in (408, 409) else 2


def _row_error(key: SecretStr, problem: Any) -> RowError:
    said = f"{problem} {problem.response.text if hasattr(problem, 'response') else ''}"
    said = said.replace(key.get_secret_value(), "***")
    kinds = {"(context|model).length": "too_long", "content_(filter|policy)": "refused"}
    found = [kind for mark, kind in kinds.items() if _rounds(problem) == 1 and re.search(mark, said)]
    return RowError([*found, "engine_error"][0], said[:4000])


def _end_of_run(engine: OpenAIEngine, key: SecretStr, problem: Any) -> UserError:
    where, told = _place(engine), str(problem).replace(key.get_secret_value(), "***")[:300]
    place = f"{where}.base_url {scrubbed(engine.base_url)}"
    if _rounds(problem) > 1:
        return UnreachableError(f"{place}: does not answer ({told}); once it does, the same command goes on")
    key_of = f"${engine.api_key_env}" if engine.api_key_env else f"{where}.api_key_env"
    check = f"check it, {where}.model, {where}.structured, sampling and {key_of}"
    return ModelError(f"{place}: refuses {engine.model!r} ({told}); {check}")


def _place(engine: OpenAIEngine) -> str:
    """Where an endpoint stands in the config: candidates and judges have names."""
    name = getattr(engine, "name", None)
    return f"evaluation ({name})" if name else "engine"


def api_key(engine: OpenAIEngine) -> str:
    """The key out of the environment of who started the run; a ModelError where there is none."""
    if engine.api_key_env is None:
        return "none"
    key = os.environ.get(engine.api_key_env, "").strip()
    if not re.fullmatch("[!-~]+", key):
        raise ModelError(f"{_place(engine)}.api_key_env: ${engine.api_key_env} is not set to a key; export it here")
    return key


def check_endpoint(engine: OpenAIEngine) -> int | None:
    """Ask the endpoint for its list of models.

    Returns:
        The tokens that the model's context has, where the list tells it, as those of vLLM and Ray Serve may.

    Raises:
        ModelError: no key, a refused one, or a list that lacks the model.
        UnreachableError: it does not answer.
    """
    import openai

    key = SecretStr(api_key(engine))
    client = openai.OpenAI(base_url=engine.base_url, api_key=key.get_secret_value(), timeout=10, max_retries=2)
    try:
        cards = {model.id.removeprefix("models/"): model for model in client.models.list()}
    except (openai.NotFoundError, AttributeError, TypeError, ValueError):
        return None  # no list of models, or one in another shape
    except openai.APIError as problem:
        raise _end_of_run(engine, key, problem) from None
    if cards and engine.model not in cards:
        known = ", ".join(get_close_matches(engine.model, cards, n=8, cutoff=0))
        raise ModelError(
            f"{_place(engine)}.model {engine.model!r}: {scrubbed(engine.base_url)} does not have it; it has {known}"
        )
    return _context(cards.get(engine.model))


def _context(card: Any) -> int | None:
    more = getattr(card, "metadata", None)
    told = [getattr(card, "max_model_len", None), isinstance(more, dict) and more.get("max_request_context_length")]
    return next((tokens for tokens in told if type(tokens) is int and tokens > 0), None)

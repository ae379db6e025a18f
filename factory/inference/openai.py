"""Text generation by any OpenAI-compatible endpoint: gpt-4o, or a fleet of one's own.

The `openai` client retries 408, 409, 429, 5xx, time-outs and lost connections with back-off, and
waits as long as Retry-After asks (up to two minutes). A request that fails all the same, or is not
answered by its deadline, is a row's failure only if the endpoint answers others; else the run ends,
and the same command goes on later. Nothing in a reply is trusted: see `_read`.
"""

import asyncio
import json
import math
import os
import re
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from difflib import get_close_matches
from functools import cached_property
from itertools import islice
from typing import Any
from urllib.parse import urlsplit

import ray
from pydantic import SecretStr
from ray.data import ActorPoolStrategy, Dataset
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from factory.config import LOOPBACK, OpenAIEngine
from factory.errors import ModelError, UnreachableError, UserError
from factory.inference.backend import Backend, Replica
from factory.inference.engine_metrics import Requests, report_periodically
from factory.inference.model_files import Located
from factory.inference.multi_turn import NoReplyError, Reply, RowError, attempt_sampling, generate_turns
from factory.inference.window import shards_in_flight
from factory.records import Completion, Message, Request, TokenChoice
from factory.text.control_tokens import escape_control_tokens
from factory.text.normalize import shorten
from factory.text.redaction import redact_urls

REQUESTS_PER_ACTOR = 128
ENDING_TOKENS = 12
"""So many tokens from the end hold a verdict's score."""
MOST_TOKENS = 10**8
"""A reply that counts more tokens, of itself or of its prompt, counts wrongly: no context holds so many."""
CHARACTERS = 10_000
TOKEN_CHARACTERS = 100
"""A text may have so many characters a token that it was asked for, and `CHARACTERS` besides: long runs of spaces are
one token, and some endpoints take `max_tokens` lightly."""
DETAIL_CHARACTERS = 4000
LONGEST_PAUSE_S = 120
"""The most that the client waits for a Retry-After; it does not wait at all for a longer one."""
ROUNDING = 0.01
"""A logarithm of a probability may be so much above 0."""
LIST_WAIT_S = 10
LISTED = 10_000
"""So many models of an endpoint's list are compared with a name that is not among them."""
ENDPOINT = "endpoint"
"""In place of a revision, which endpoints do not report; the URL decides nothing, as an endpoint may move."""
NO_KEY = "none"
"""In place of a key, for an endpoint without one."""
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

    def answer(self, shards: Dataset, model: Located, seed: int, shard_rows: int) -> Dataset:
        actors, at_once = shares(self.settings.max_concurrency)
        concurrent, in_flight = shards_in_flight(at_once, shard_rows)
        # Read here: on a cluster the clients' machines lack the environment of the user who started the run.
        key = SecretStr(api_key(self.settings))
        where: dict[str, Any] = {"num_cpus": 0.1}  # it waits for others
        if urlsplit(self.settings.base_url).hostname in LOOPBACK:  # the endpoint is on the machine of the driver
            here = ray.get_runtime_context().get_node_id()
            where = {"num_cpus": 0, "scheduling_strategy": NodeAffinitySchedulingStrategy(here, soft=False)}
        return shards.map_batches(
            OpenAIReplica,
            fn_constructor_args=(self.settings, key, at_once),
            batch_size=1,
            compute=ActorPoolStrategy(size=actors, max_tasks_in_flight_per_actor=in_flight),
            max_concurrency=concurrent,
            **where,
        )


def shares(concurrency: int) -> tuple[int, int]:
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
        self._clients: dict[int, Any] = {}

    def _client(self, max_tokens: int) -> Any:
        """Return the client for replies of up to `max_tokens`, which bound the bytes that it reads."""
        if max_tokens not in self._clients:
            from factory.inference.http_clients import make_client  # it takes a second, also where shards are only read

            self._clients[max_tokens] = make_client(self._engine, self._key, max_tokens=max_tokens)
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
        client = self._client(request.sampling.max_tokens)
        while True:
            try:
                async with asyncio.timeout(deadline - time.monotonic()):
                    return await self._send(client, messages, request, again)
            except TimeoutError:
                await self._raise_if_endpoint_down(request)
                raise RowError("engine_error", f"not answered in {self._engine.deadline_s:g} s") from None
            except APIError as problem:
                failures += 1
                await self._raise_if_endpoint_down(request)
                if failures >= _rounds(problem):
                    raise _row_error(self._key, problem) from None
                await asyncio.sleep(_pause_s(problem))

    async def _raise_if_endpoint_down(self, failed: Request) -> None:
        """Return once the endpoint has answered another request, a small one of ours if need be; else end the run."""
        from openai import APIError

        failed_at = time.monotonic()
        client = self._client(failed.sampling.max_tokens).with_options(max_retries=3)
        ping = replace(_PING, schema=failed.schema and _PING.schema, sampling=failed.sampling)
        async with self._in_doubt:
            try:
                if self._answered_at <= failed_at:
                    with suppress(RowError):  # that too is an answer
                        await self._send(client, ping.messages, ping)
            except APIError as problem:
                if self._answered_at <= failed_at:  # another may have been answered meanwhile
                    raise _end_of_run(self._engine, self._key, problem) from None

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
            reply = _read(json.loads(answer.content), request.sampling.max_tokens)
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


def _read(answer: Any, max_tokens: int) -> Reply:
    """Read an endpoint's answer: the one place where that is done.

    A text that cannot be had fails. What stands beside it (counts of tokens, log-probabilities) is left out where
    it is not plausible: the reply is paid for.
    """
    choice, usage = answer["choices"][0], _object(answer.get("usage"))
    text, finish_reason = choice["message"].get("content"), choice.get("finish_reason")
    refusal = choice["message"].get("refusal") or (finish_reason == "content_filter" and (text or finish_reason))
    if refusal or finish_reason in ("error", "abort") or (text is None and finish_reason != "length"):
        what = str(refusal or f"no reply: {json.dumps(choice)}")
        raise NoReplyError("refused" if refusal else "engine_error", shorten(what, DETAIL_CHARACTERS))
    text = text or ""
    text.encode()  # fails where it is no text, or has half characters
    if len(text) > most_characters(max_tokens):
        what = f"a reply of {len(text):,} characters, where {max_tokens:,} tokens were asked for: {text}"
        raise NoReplyError("engine_error", shorten(what, DETAIL_CHARACTERS))
    asked, said = _tokens(usage.get("prompt_tokens")), _tokens(usage.get("completion_tokens"))
    cached = min(asked, _tokens(_object(usage.get("prompt_tokens_details")).get("cached_tokens")))
    ending = _ending(choice.get("logprobs"))
    return Reply(text, asked, said, cached, truncated=finish_reason == "length", ending=ending)


def most_characters(max_tokens: int) -> int:
    """Return how long the reply to a request for so many tokens can be."""
    return CHARACTERS + TOKEN_CHARACTERS * max_tokens


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _tokens(value: Any) -> int:
    """Return a count of tokens; 0 where there is none, or none that can be."""
    whole = type(value) is int or (type(value) is float and value.is_integer())
    return int(value) if whole and 0 <= value <= MOST_TOKENS else 0


def _ending(logprobs: Any) -> tuple[TokenChoice, ...]:
    """Return the last tokens of a reply; all of them, with twenty others each, would be a thousand times the text.

    Nothing where some are missing: a score would be worked out of what is left.
    """
    try:
        return tuple(
            TokenChoice(
                _string(place["token"]),
                {_string(likely["token"]): _logarithm(likely["logprob"]) for likely in place["top_logprobs"]},
            )
            for place in ((logprobs or {}).get("content") or [])[-ENDING_TOKENS:]
        )
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
        return ()


def _string(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _logarithm(value: Any) -> float:
    """Check the logarithm of a probability; servers write -9999 where it is infinite, as JSON has no infinity."""
    if type(value) not in (int, float) or not value <= ROUNDING:  # which NaN is not either
        raise ValueError
    return float(value)


def _rounds(problem: Any) -> int:
    """How often a request may use up its retries: again where it was perhaps another that was at fault."""
    status = getattr(problem, "status_code", 0)
    return 10 if status in (429, 503) else 1 if 300 <= status < 500 and status not in (408, 409) else 2


def _pause_s(problem: Any) -> float:
    """Return how long to wait where the client did not, as a busy endpoint asked for more than it waits."""
    asked = problem.response.headers.get("retry-after", "") if hasattr(problem, "response") else ""
    return LONGEST_PAUSE_S if asked.isdecimal() and float(asked) > LONGEST_PAUSE_S else 0


def _row_error(key: SecretStr, problem: Any) -> RowError:
    said = _without_key(key, f"{problem} {problem.response.text if hasattr(problem, 'response') else ''}")
    kinds = {"(context|model).length": "too_long", "content_(filter|policy)": "refused"}
    found = [kind for mark, kind in kinds.items() if _rounds(problem) == 1 and re.search(mark, said)]
    return RowError([*found, "engine_error"][0], shorten(said, DETAIL_CHARACTERS))


def _without_key(key: SecretStr, said: str) -> str:
    return said if key.get_secret_value() == NO_KEY else said.replace(key.get_secret_value(), "***")


def _end_of_run(engine: OpenAIEngine, key: SecretStr, problem: Any) -> UserError:
    where, told = _place(engine), " ".join(_without_key(key, str(problem))[:300].split())
    place = f"{where}.base_url {redact_urls(engine.base_url)}"
    if _rounds(problem) > 1:
        return UnreachableError(f"{place}: does not answer ({told}); once it does, the same command goes on")
    api_key_of = f"${engine.api_key_env}" if engine.api_key_env else f"{where}.api_key_env"
    check = f"check it, {where}.model, {where}.structured, sampling and {api_key_of}"
    return ModelError(f"{place}: refuses {engine.model!r} ({told}); {check}")


def _place(engine: OpenAIEngine) -> str:
    """Where an endpoint stands in the config: candidates and judges have names."""
    name = getattr(engine, "name", None)
    return f"evaluation ({name})" if name else "engine"


def api_key(engine: OpenAIEngine) -> str:
    """The key out of the environment of who started the run; a ModelError where there is none."""
    if engine.api_key_env is None:
        return NO_KEY
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
    try:
        cards = {str(card["id"]).removeprefix("models/"): card for card in asyncio.run(_listed(engine, key))["data"]}
    except (openai.NotFoundError, AttributeError, LookupError, RecursionError, TypeError, ValueError):
        return None  # no list of models, or one in another shape
    except openai.APIError as problem:
        raise _end_of_run(engine, key, problem) from None
    if cards and engine.model not in cards:
        named = [name for name in islice(cards, LISTED) if len(name) < 100]
        known = ", ".join(get_close_matches(engine.model, named, n=8, cutoff=0))
        raise ModelError(
            f"{_place(engine)}.model {engine.model!r}: {redact_urls(engine.base_url)} does not have it; it has {known}"
        )
    return _context(_object(cards.get(engine.model)))


async def _listed(engine: OpenAIEngine, key: SecretStr) -> Any:
    from factory.inference.http_clients import make_client

    async with make_client(engine, key, timeout_s=LIST_WAIT_S, max_retries=2) as client:
        answer = await client.models.with_raw_response.list()
        return json.loads(answer.content)


def _context(card: dict[str, Any]) -> int | None:
    told = [card.get("max_model_len"), _object(card.get("metadata")).get("max_request_context_length")]
    return next((tokens for tokens in map(_tokens, told) if tokens), None)

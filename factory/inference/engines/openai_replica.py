"""One client of an OpenAI-compatible endpoint.

A request is sent again after 408, 409, 429, 5xx, time-outs and lost connections: with back-off, or when
Retry-After allows it (up to two minutes). If it fails nevertheless, or is not answered by its deadline,
the failure is the row's own only if the endpoint answers other requests; otherwise the run ends, and the
same command goes on later.
"""

import asyncio
import itertools
import json
import logging
import math
import random
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from functools import cached_property
from typing import Any

from pydantic import SecretStr

from factory.config import OpenAIEngine
from factory.inference.engines.backend import Replica
from factory.inference.engines.endpoint_errors import (
    MOST_PAUSE_S,
    asks_for_longer,
    is_temporary,
    max_rounds,
    pause_s,
    row_error,
    run_error,
)
from factory.inference.engines.endpoint_limits import EndpointLimits
from factory.inference.engines.endpoint_reply import MISSHAPEN, EmptyReplyError, parse_reply
from factory.inference.engines.endpoint_request import request_body, with_other_limit
from factory.inference.engines.engine_metrics import Requests, report_periodically
from factory.inference.multi_turn import Reply, RowError, attempt_sampling, generate_turns
from factory.records import Completion, Message, Request
from factory.runtime.shutdown import StopFlag

CHARACTERS_PER_TOKEN = 4
"""Of English text, with today's tokenizers; the tokenizer of an endpoint is unknown."""
EMPTY_TRIES = 3
"""How often a request is sent that gets empty answers: reasoning models give some by chance."""
SCORE_ONLY = Completion(error="engine_error", detail="an endpoint does not return how likely a given reply is")
_PING = Request((Message("user", 'Answer with the JSON object {"ok": true}.'),), schema='{"type": "object"}')


class OpenAIReplica(Replica):
    """The actor that sends requests to an endpoint.

    Args:
        engine: the endpoint; its requests and tokens per minute are those of this client.
        key: its key, wrapped so that no log and no error shows it.
        at_once: the most requests in flight.
        flag: no shard is begun once it is set.
    """

    def __init__(self, engine: OpenAIEngine, key: SecretStr, at_once: int, flag: StopFlag | None = None) -> None:
        self.engine, self.flag = engine, flag
        self.key = key
        self._slots = asyncio.Semaphore(at_once)
        self._limits = EndpointLimits(at_once, engine.requests_per_minute, engine.tokens_per_minute)
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

            engine = self.engine
            addresses = [engine.model_copy(update={"base_url": url}) for url in (engine.base_url, *engine.other_urls)]
            clients = [make_client(each, self.key, max_tokens=max_tokens, max_retries=0) for each in addresses]
            self._clients[max_tokens] = clients
        return self._clients[max_tokens]

    @cached_property
    def _watching(self) -> "asyncio.Task[None]":
        return report_periodically(self.engine.model, self._requests.state)

    async def complete(self, request: Request) -> Completion:
        _ = self._watching
        if request.score_only:
            return SCORE_ONLY
        self._requests.open += 1
        try:
            async with self._slots:
                return await generate_turns(request, lambda messages, again: self._reply(messages, request, again))
        finally:
            self._requests.open -= 1

    async def _reply(self, messages: Sequence[Message], request: Request, again: bool) -> Reply:
        from openai import APIError

        failures = empty = 0
        clients = self._clients_for(request.sampling.max_tokens)
        addresses = itertools.cycle(clients)
        for _ in range(next(self._turns) % len(clients)):
            next(addresses)
        try:
            async with asyncio.timeout(self.engine.deadline_s) as deadline:
                while True:
                    try:
                        return await self._attempts(
                            addresses, messages, request, again or empty > 0, deadline, failures=failures
                        )
                    except EmptyReplyError:
                        empty += 1
                        if empty == EMPTY_TRIES:
                            raise
                    except APIError as problem:
                        failures += 1
                        async with _suspended(deadline):
                            await self.raise_if_endpoint_down(request)
                        if failures >= max_rounds(problem):
                            raise row_error(self.key, problem) from None
                        await asyncio.sleep(pause_s(problem, failures, random.random()))
        except TimeoutError:
            await self.raise_if_endpoint_down(request)
            raise RowError("engine_error", f"not answered in {self.engine.deadline_s:g} s") from None

    async def _attempts(
        self,
        addresses: Iterator[Any],
        messages: Sequence[Message],
        request: Request,
        again: bool,
        deadline: asyncio.Timeout,
        retries: int | None = None,
        failures: int = 0,
    ) -> Reply:
        """Send a request until it is answered or has no retries left.

        Args:
            addresses: clients, by turns.
            messages: what to reply to.
            request: the other parameters.
            again: whether an earlier reply could not be used.
            deadline: does not run while the request waits for its turn.
            retries: by default those of the config.
            failures: how often it had no retries left before.
        """
        from openai import APIError

        retries = self.engine.max_retries if retries is None else retries
        tokens = sum(len(message.content) for message in messages) // CHARACTERS_PER_TOKEN
        attempt = 0
        while True:
            async with _suspended(deadline):
                place = await self._limits.place(tokens + request.sampling.max_tokens, attempt + failures)
            try:
                with place:
                    reply = await self._send(next(addresses), messages, request, again)
                    counted = reply.prompt_tokens + reply.output_tokens
                    place.spent = counted or tokens + len(reply.text) // CHARACTERS_PER_TOKEN
                    return reply
            except APIError as problem:
                if attempt >= retries or not is_temporary(problem) or asks_for_longer(problem):
                    raise
                await asyncio.sleep(pause_s(problem, attempt, random.random()))
                attempt += 1

    async def raise_if_endpoint_down(self, failed: Request) -> None:
        """Return once the endpoint has answered another request, a small one of ours if need be; else end the run."""
        failed_at = time.monotonic()
        ping = replace(_PING, schema=failed.schema and _PING.schema, sampling=failed.sampling)
        async with self._in_doubt:
            while problem := await self._find_outage(ping, failed_at):
                waited_s, is_to_stop = time.monotonic() - failed_at, self.flag is not None and self.flag.is_set()
                if not is_temporary(problem) or is_to_stop or waited_s >= self.engine.max_outage_s:
                    raise run_error(self.engine, self.key, problem) from None
                await asyncio.sleep(MOST_PAUSE_S)

    async def _find_outage(self, ping: Request, failed_at: float) -> Any:
        """Return what each address says to a small request; None if one has answered any since then."""
        from openai import APIError

        problem: APIError | None = None
        for client in self._clients_for(ping.sampling.max_tokens):
            if self._answered_at > failed_at:  # another may have been answered meanwhile
                return None
            try:
                async with asyncio.timeout(None) as endless:
                    with suppress(RowError):  # that too is an answer
                        await self._attempts(itertools.repeat(client), ping.messages, ping, False, endless, retries=3)
                return None
            except APIError as said:
                problem = said
        return None if self._answered_at > failed_at else problem

    async def _send(self, client: Any, messages: Sequence[Message], request: Request, again: bool) -> Reply:
        from openai import APIResponseValidationError, APIStatusError

        parameters = (attempt_sampling(request, again), request.schema, request.logprobs)
        create, engine = client.chat.completions.with_raw_response.create, self.engine
        try:
            answer = await create(**request_body(engine, messages, *parameters))
        except APIStatusError as problem:
            if not self._rename_limit(engine, problem):
                raise
            answer = await create(**request_body(self.engine, messages, *parameters))
        try:  # the client itself checks nothing
            reply = parse_reply(json.loads(answer.content), request.sampling.max_tokens)
        except MISSHAPEN:
            raise APIResponseValidationError(answer.http_response, None) from None
        self._answered_at = time.monotonic()
        return reply

    def _rename_limit(self, sent: OpenAIEngine, problem: Any) -> bool:
        """Return whether the endpoint has, or may have, the other name for the token limit that it was sent."""
        renamed = with_other_limit(sent, problem)
        if renamed is None:
            return False
        if self.engine == sent:
            self.engine = renamed
            logging.getLogger(__name__).warning(
                "%s takes %s for max_tokens; set token_limit so", sent.model, renamed.token_limit
            )
        return True


@asynccontextmanager
async def _suspended(deadline: asyncio.Timeout) -> AsyncIterator[None]:
    """Stop the clock of a deadline: waiting for one's turn is not the endpoint's fault."""
    clock = asyncio.get_running_loop().time
    until, began = deadline.when(), clock()
    deadline.reschedule(None)
    yield
    if until is not None:
        deadline.reschedule(until + clock() - began)

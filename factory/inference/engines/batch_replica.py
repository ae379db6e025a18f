"""The actor that gets a shard's replies from an endpoint's batches: half the price, and up to a day for each turn."""

import asyncio
import pickle
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from functools import cached_property, partial
from typing import Any

from pydantic import SecretStr

from factory.config import OpenAIEngine
from factory.errors import FactoryError, StorageError
from factory.inference.engines.batch_lines import UNANSWERED, BatchAnswer, question_line
from factory.inference.engines.batch_records import delete_records
from factory.inference.engines.batch_rounds import Rounds
from factory.inference.engines.batch_service import BatchService
from factory.inference.engines.endpoint_errors import max_rounds, row_error
from factory.inference.engines.endpoint_reply import MISSHAPEN, EmptyReplyError, parse_reply
from factory.inference.engines.endpoint_request import request_body, with_other_limit
from factory.inference.engines.engine_metrics import Requests
from factory.inference.engines.openai_replica import EMPTY_TRIES, SCORE_ONLY, OpenAIReplica
from factory.inference.multi_turn import Reply, attempt_sampling, generate_turns
from factory.records import Completion, Message, Request
from factory.runtime.shutdown import StopFlag
from factory.storage import file_io

LOOK_S = 2
"""How often the stop flag is looked for."""


class BatchReplica(OpenAIReplica):
    """Answers shards by batches; where one answers none of its rows, a small request of the usual kind shows why.

    Args:
        engine: the endpoint.
        key: its key.
        flag: ends the wait for batches, which go on without this process.
    """

    def __init__(self, engine: OpenAIEngine, key: SecretStr, flag: StopFlag) -> None:
        super().__init__(engine, key, at_once=1)
        self._requests = Requests(at_once=sys.maxsize)
        self._batches = BatchService(engine, key)
        self._flag = flag

    @cached_property
    def _stopping(self) -> "asyncio.Task[None]":
        return asyncio.create_task(self._wait_for_stop())

    async def _wait_for_stop(self) -> None:
        is_set = False
        while not is_set:
            await asyncio.sleep(LOOK_S)
            with suppress(StorageError):
                is_set = await asyncio.to_thread(self._flag.is_set)

    async def __call__(self, batch: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
        _ = self._watching
        folder = file_io.join(str(batch["state"][0]), str(batch["shard"][0]))
        requests = pickle.loads(batch["requests"][0])
        answered = asyncio.create_task(_Shard(self, folder, requests).answer())
        self._requests.open += len(requests)
        try:
            await asyncio.wait({answered, self._stopping}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._requests.open -= len(requests)
            is_answered = not answered.cancel()
        completions = await answered if is_answered else []
        read = {} if is_answered else {"is_read": [False]}
        yield {**batch, **read, "requests": [b""], "completions": [pickle.dumps(completions)]}

    async def ask(self, folder: str, lines: dict[int, bytes], max_tokens: int) -> dict[int, BatchAnswer]:
        """Return the answers to a round."""
        return await self._batches.answer(folder, lines, max_tokens)

    def problem(self, answer: BatchAnswer) -> Exception:
        """Return an answer that is not a reply as the error that the client raises for such an answer."""
        import httpx2
        from openai import APIResponseValidationError, APIStatusError

        request = httpx2.Request("POST", self.engine.base_url)
        response = httpx2.Response(answer.status or 503, json=answer.body, request=request)
        if answer.status == 200:
            return APIResponseValidationError(response, None)
        error = answer.body.get("error") if isinstance(answer.body, dict) else None
        return APIStatusError(f"Error code: {response.status_code} - {answer.body}", response=response, body=error)


class _Shard:
    """The rows of a shard, and the rounds in which they ask."""

    def __init__(self, replica: BatchReplica, folder: str, requests: Sequence[Request]) -> None:
        self._replica = replica
        self._folder = folder
        self._requests = requests
        self._engine = replica.engine
        self._rounds = Rounds(len(requests), self._ask)
        self._max_tokens = max((request.sampling.max_tokens for request in requests), default=0)

    async def answer(self) -> list[Completion]:
        try:
            return await asyncio.gather(*(self._complete(*each) for each in enumerate(self._requests)))
        finally:
            self._rounds.close()

    async def _ask(self, number: int, lines: dict[int, bytes]) -> dict[int, BatchAnswer]:
        return await self._replica.ask(file_io.join(self._folder, str(number)), lines, self._max_tokens)

    async def _complete(self, row: int, request: Request) -> Completion:
        try:
            if request.score_only:
                return SCORE_ONLY
            return await generate_turns(request, partial(self._reply, row, request))
        finally:
            self._rounds.end()

    async def _reply(self, row: int, request: Request, messages: Sequence[Message], again: bool) -> Reply:
        from openai import APIError

        failures = empty = 0
        while True:
            engine = self._engine
            sampling = attempt_sampling(request, again or empty > 0)
            body = request_body(engine, messages, sampling, request.schema, request.logprobs)
            answer = await self._rounds.ask(row, question_line(row, body))
            try:
                if answer.status != 200:
                    raise self._replica.problem(answer)
                try:
                    return parse_reply(answer.body, request.sampling.max_tokens)
                except MISSHAPEN:
                    raise self._replica.problem(answer) from None
            except EmptyReplyError:
                empty += 1
                if empty == EMPTY_TRIES:
                    raise
            except APIError as problem:
                if renamed := with_other_limit(engine, problem):
                    self._engine = renamed
                    continue
                failures += 1
                if answer.status != UNANSWERED and not answer.others_good:
                    await self._check_endpoint(request)
                if failures >= max_rounds(problem):
                    raise row_error(self._replica.key, problem) from None

    async def _check_endpoint(self, request: Request) -> None:
        """Return if the endpoint answers a small request; else the round is asked again by the next run.

        Raises:
            FactoryError: it does not.
        """
        try:
            await self._replica.raise_if_endpoint_down(request)
        except FactoryError:
            await asyncio.to_thread(delete_records, file_io.join(self._folder, str(self._rounds.number)))
            raise

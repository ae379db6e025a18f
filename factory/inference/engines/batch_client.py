"""A client of OpenAI's interface for files and batches: each call is repeated while the endpoint does not answer."""

import asyncio
import json
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import suppress
from functools import partial
from typing import Any

from pydantic import SecretStr

from factory.config import OpenAIEngine
from factory.errors import ModelError, UserError
from factory.inference.engines.batch_lines import ENDPOINT
from factory.inference.engines.endpoint_check import LIST_TIMEOUT_S
from factory.inference.engines.endpoint_errors import max_rounds, pause_s, retry_after_s, run_error
from factory.inference.engines.endpoint_key import api_key, config_key, redact_key
from factory.inference.engines.endpoint_reply import as_object
from factory.text.normalize import shorten
from factory.text.redaction import redact_urls

TRANSFER_S = 3600
"""The longest that a file of 200 MB takes."""
LISTED = 100
"""Batches on a page of their list."""
CLOCKS_S = 3600
"""How far the clocks of the endpoint and of this machine may differ."""
ABSENT = (404, 405, 501)
DETAIL_CHARACTERS = 600
METADATA_CHARACTERS = 512


class BatchRefusedError(ModelError):
    """A batch that the endpoint does not take."""


def check_batches(engine: OpenAIEngine) -> None:
    """Check that an endpoint has an interface for batches.

    Raises:
        ModelError: it has none, or refuses the key.
        UnreachableError: it does not answer.
    """
    brief = engine.model_copy(update={"timeout_s": LIST_TIMEOUT_S, "deadline_s": LIST_TIMEOUT_S})
    asyncio.run(_check(brief, SecretStr(api_key(engine))))


async def _check(engine: OpenAIEngine, key: SecretStr) -> None:
    await BatchClient(engine, key).check()


class BatchClient:
    """Sends and fetches the batches of an endpoint; it lives in one event loop.

    Args:
        engine: the endpoint.
        key: its key.
    """

    def __init__(self, engine: OpenAIEngine, key: SecretStr) -> None:
        from factory.inference.engines.http_clients import make_client

        self.engine = engine
        self._key = key
        self._client = make_client(engine, key, attempt_s=TRANSFER_S, max_retries=0)

    async def check(self) -> None:
        """Request the newest batch, and close the client."""
        async with self._client:
            await self._call(lambda: self._client.batches.with_raw_response.list(limit=1))

    async def upload(self, lines: Iterable[bytes]) -> str:
        """Send the lines of a batch, and return the file's id."""
        file = ("requests.jsonl", b"".join(lines), "application/jsonl")
        create = self._client.files.with_raw_response.create
        return str((await self._call(lambda: create(file=file, purpose="batch")))["id"])

    async def create(self, file: str, about: str) -> str:
        """Create the batch of an uploaded file, and return its id.

        Args:
            file: its id.
            about: what a list of batches shows of it.

        Raises:
            APIError: it is not created, or may be.
        """
        from openai import APIResponseValidationError

        create = self._client.batches.with_raw_response.create
        metadata = {"character-factory": about[-METADATA_CHARACTERS:]}
        answer = await create(input_file_id=file, endpoint=ENDPOINT, completion_window="24h", metadata=metadata)
        try:
            return str(json.loads(answer.content)["id"])
        except (LookupError, RecursionError, TypeError, ValueError):
            raise APIResponseValidationError(answer.http_response, None) from None

    async def find(self, file: str, uploaded: float) -> str:
        """Return the id of the batch of a file; empty if it has none that has not failed.

        Args:
            file: its id.
            uploaded: when, in seconds since 1970; older batches are not looked at.
        """
        after: dict[str, Any] = {}
        while True:
            answer = await self._call(partial(self._client.batches.with_raw_response.list, limit=LISTED, **after))
            listed = answer.get("data")
            batches = [as_object(each) for each in listed] if isinstance(listed, list) else []
            for batch in batches:
                if batch.get("input_file_id") == file and batch.get("status") != "failed":
                    return str(batch.get("id"))
            last = batches[-1] if batches else {}
            created = last.get("created_at")
            is_newer = isinstance(created, int | float) and created > uploaded - CLOCKS_S
            if not (answer.get("has_more") and is_newer):
                return ""
            after = {"after": str(last.get("id"))}

    async def look(self, batch: str) -> dict[str, Any] | None:
        """Return a batch; None if the endpoint does not have it."""
        retrieve = partial(self._client.batches.with_raw_response.retrieve, batch)
        found: dict[str, Any] | None = await self._call(retrieve, may_be_absent=True)
        return found

    async def download(self, file: str, tokens: int) -> AsyncIterator[bytes]:
        """Yield the lines of a file; none if the endpoint does not have it.

        Args:
            file: its id.
            tokens: the most that it can hold, which bound its bytes.
        """
        import httpx2
        from openai import APIConnectionError, APIStatusError

        from factory.inference.engines.http_clients import make_client

        bounds: dict[str, Any] = {"max_tokens": tokens, "attempt_s": TRANSFER_S, "max_retries": 0}
        async with make_client(self.engine, self._key, **bounds) as client:
            try:
                async with client.files.with_streaming_response.content(file) as response:
                    rest = b""
                    async for piece in response.iter_bytes():
                        *lines, rest = (rest + piece).split(b"\n")
                        for line in lines:
                            yield line
                    yield rest
            except APIStatusError as problem:
                if not _is_absent(problem):
                    raise
            except httpx2.HTTPError as problem:  # of a body, which the client leaves as it is
                raise APIConnectionError(request=problem.request) from None

    async def delete(self, file: str) -> None:
        """Delete a file; the endpoint deletes what is left itself after a month."""
        from openai import APIError

        with suppress(APIError):
            await self._client.files.with_raw_response.delete(file)

    async def patiently(self, call: Callable[[], Awaitable[Any]]) -> Any:
        """Return what a call returns, which is repeated while it fails for a while.

        Raises:
            UserError: the endpoint refuses it, or fails for `deadline_s`.
        """
        from openai import APIError

        failing_since, attempt = None, 0
        while True:
            try:
                return await call()
            except APIError as problem:
                failing_since = failing_since or time.monotonic()
                lasts = time.monotonic() - failing_since < self.engine.deadline_s
                if max_rounds(problem) == 1 or _is_absent(problem) or not lasts:
                    raise self.error(problem) from None
                await asyncio.sleep(max(retry_after_s(problem), pause_s(problem, attempt, random.random())))
                attempt += 1

    async def _call(self, call: Callable[[], Awaitable[Any]], may_be_absent: bool = False) -> Any:
        """Return the JSON object of an answer; None for an object that is absent, if it may be."""
        from openai import APIResponseValidationError, NotFoundError

        async def answer() -> Any:
            try:
                response = await call()
            except NotFoundError:
                if may_be_absent:
                    return None
                raise
            try:
                content = json.loads(response.content)
            except (RecursionError, ValueError):
                content = None
            if not isinstance(content, dict):
                raise APIResponseValidationError(response.http_response, None)
            return content

        return await self.patiently(answer)

    def error(self, problem: Any) -> UserError:
        """Return the error that ends the run."""
        section, status = config_key(self.engine), getattr(problem, "status_code", 0)
        if _is_absent(problem):
            where = f"{section}.batch: {redact_urls(self.engine.base_url)}"
            return ModelError(f"{where} has no interface for batches ({status}); leave {section}.batch out")
        return self.refusal(str(problem)) if status in (400, 413, 422) else run_error(self.engine, self._key, problem)

    def refusal(self, said: str) -> BatchRefusedError:
        """Return the error of a batch that the endpoint does not take."""
        engine, section = self.engine, config_key(self.engine)
        where = f"{section}.batch: {redact_urls(engine.base_url)}"
        answer = shorten(" ".join(redact_key(self._key, said).split()), DETAIL_CHARACTERS)
        return BatchRefusedError(
            f"{where} refuses a batch for {engine.model!r} ({answer}); change that, or leave {section}.batch out"
        )


def _is_absent(problem: Any) -> bool:
    return getattr(problem, "status_code", 0) in ABSENT

"""Clients of OpenAI-compatible endpoints that neither wait nor read forever.

The timeouts of HTTP clients hold for each read, so one byte every half second never ends. Here an
attempt has a deadline from its connection to its last byte, and a reply has a limit of bytes
once it is unpacked. A redirect is an error: requests go only where the config points.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import openai
from pydantic import SecretStr

from factory.config import OpenAIEngine
from factory.text.redaction import redact_urls

CONNECT_S = 10
REPLY_BYTES = 2**22
"""The bytes of a reply besides those of its tokens, and all bytes of a list of models."""
TOKEN_BYTES = 2**12
"""A token with the log-probabilities of twenty others has 2 kB, one that is streamed half a kilobyte."""


class BadReplyError(openai.APIError):
    """A reply that is not read to its end: it is too long, or it sends the client elsewhere."""

    def __init__(self, message: str, response: httpx2.Response) -> None:
        super().__init__(message, response.request, body=None)
        self.status_code = response.status_code


def make_client(
    endpoint: OpenAIEngine,
    key: SecretStr,
    *,
    max_tokens: int = 0,
    timeout_s: float | None = None,
    attempt_s: float | None = None,
    max_retries: int | None = None,
) -> openai.AsyncOpenAI:
    """Return a client of an endpoint; it lives in one event loop.

    Args:
        endpoint: its settings.
        key: its key.
        max_tokens: the `max_tokens` of its requests.
        timeout_s: the longest silence; by default the endpoint's.
        attempt_s: the longest that one attempt takes, its reply included; by default `timeout_s`.
        max_retries: by default the endpoint's.
    """
    silence_s = timeout_s or endpoint.timeout_s
    timeout = openai.Timeout(silence_s, connect=min(CONNECT_S, silence_s))
    most_bytes = REPLY_BYTES + TOKEN_BYTES * max_tokens
    http = _Client(attempt_s or silence_s, most_bytes, timeout=timeout, follow_redirects=False)
    return openai.AsyncOpenAI(
        base_url=endpoint.base_url,
        api_key=key.get_secret_value(),
        timeout=timeout,
        max_retries=endpoint.max_retries if max_retries is None else max_retries,
        http_client=http,
    )


class _Client(openai.DefaultAsyncHttpxClient):
    def __init__(self, attempt_s: float, most_bytes: int, **settings: Any) -> None:
        super().__init__(**settings)
        self._attempt_s = attempt_s
        self._most_bytes = most_bytes

    async def send(self, request: httpx2.Request, *, stream: bool = False, **settings: Any) -> httpx2.Response:
        deadline = asyncio.get_running_loop().time() + self._attempt_s
        async with _until(deadline, request):
            answer = await super().send(request, stream=True, **settings)
        if answer.is_redirect:
            await answer.aclose()
            to = redact_urls(answer.headers.get("location", ""))[:200]
            raise BadReplyError(f"it redirects to {to!r}; give the address that answers", answer)
        headers = [(name, value) for name, value in answer.headers.raw if name.lower() not in _OF_THE_PACKED]
        response = httpx2.Response(
            answer.status_code,
            headers=headers,
            stream=_Bounded(answer, deadline, self._most_bytes),
            request=request,
            extensions=answer.extensions,
        )
        response.encoding = "utf-8"  # JSON's; Python would unpack a `charset=zlib` without a bound
        if not stream:
            try:
                await response.aread()
            except BaseException:
                await response.aclose()
                raise
        return response


_OF_THE_PACKED = {b"content-encoding", b"content-length", b"transfer-encoding"}


class _Bounded(httpx2.AsyncByteStream):
    """The unpacked bytes of a reply, in pieces of a megabyte at most."""

    def __init__(self, answer: httpx2.Response, deadline: float, most_bytes: int) -> None:
        self._answer = answer
        self._deadline = deadline
        self._most_bytes = most_bytes

    async def __aiter__(self) -> AsyncIterator[bytes]:
        pieces, read = aiter(self._answer.aiter_bytes()), 0
        while True:
            async with _until(self._deadline, self._answer.request):
                piece = await anext(pieces, None)
            if piece is None:
                return
            read += len(piece)
            if read > self._most_bytes:
                raise BadReplyError(f"its reply has more than {self._most_bytes:,} bytes", self._answer)
            yield piece

    async def aclose(self) -> None:
        await self._answer.aclose()


@asynccontextmanager
async def _until(deadline: float, request: httpx2.Request) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout_at(deadline):
            yield
    except TimeoutError:
        raise httpx2.ReadTimeout("the attempt has no more time", request=request) from None

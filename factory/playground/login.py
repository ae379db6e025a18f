"""The page's login, with delays against password guessing."""

import asyncio
import hashlib
import hmac
import math
import time
from collections.abc import Awaitable, Callable
from contextvars import ContextVar

from cachetools import LRUCache
from fastapi import HTTPException

from factory.playground.rate_limits import MAX_ADDRESSES

CLIENT: ContextVar[str] = ContextVar("client", default="")
"""The client of the current request: gradio passes no request to a password check."""
FREE_TRIES = 5
"""Number of wrong passwords per client that are answered at once; after that, one per `DELAY_S`."""
DELAY_S = 6.0
MAX_WAITING = 100
"""Maximum number of clients with a delayed answer; further ones get status 429."""


class Login:
    """Checks user and password; delays clients with many wrong passwords, and only those.

    Args:
        user: the user name.
        password: the password.
        clock: returns the seconds of a monotonic clock.
        sleep: waits for a number of seconds.
    """

    def __init__(
        self,
        user: str,
        password: str,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._digest = _digest(user, password)
        self._clock, self._sleep = clock, sleep
        self._due: LRUCache[str, float] = LRUCache(MAX_ADDRESSES)
        """When the wrong passwords of a client are forgotten, one per `DELAY_S`."""
        self._waiting: set[str] = set()

    async def check(self, user: str, password: str) -> bool:
        """Return whether user and password are correct, after a delay for a client with many wrong passwords.

        Raises:
            HTTPException: with status 429, if this client or too many clients are waiting already.
        """
        client, now = CLIENT.get(), self._clock()
        due = max(self._due.get(client, now), now)
        wait_s = due - now - (FREE_TRIES - 1) * DELAY_S
        if wait_s > 0 and (client in self._waiting or len(self._waiting) >= MAX_WAITING):
            retry_s = math.ceil(wait_s)
            detail = f"Too many wrong passwords; try again in {retry_s} seconds."
            raise HTTPException(429, detail, {"Retry-After": str(retry_s)})
        self._due[client] = due + DELAY_S  # before the wait, so that concurrent requests see it
        if wait_s > 0:
            self._waiting.add(client)
            try:
                await self._sleep(wait_s)
            finally:
                self._waiting.discard(client)
        is_correct = hmac.compare_digest(_digest(user, password), self._digest)
        if is_correct and client in self._due:
            self._due[client] -= DELAY_S
        return is_correct


def _digest(user: str, password: str) -> bytes:
    return hashlib.sha256(f"{len(user)} {user}{password}".encode("utf-8", "surrogatepass")).digest()

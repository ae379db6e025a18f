"""The page's password, and how fast it can be guessed."""

import asyncio
import hashlib
import hmac
import math
import time
from collections.abc import Awaitable, Callable
from contextvars import ContextVar

from cachetools import LRUCache
from fastapi import HTTPException

from factory.playground.rate_limits import ADDRESSES

ASKING: ContextVar[str] = ContextVar("asking", default="")
"""The client of the request that is being answered: gradio hands a check of passwords no request."""
AT_ONCE = 5
"""So many wrong passwords of one client are answered at once, after that one every `EVERY_S`."""
EVERY_S = 6.0
WAITING = 100
"""So many clients are kept waiting for an answer; others are sent away until then."""


class Login:
    """Checks user and password; a client that errs often waits, and other clients do not.

    Args:
        user: who may enter.
        password: theirs.
        clock: gives seconds that only go forward.
        sleep: waits for seconds.
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
        self._due: LRUCache[str, float] = LRUCache(ADDRESSES)
        """When all wrong passwords of a client are forgotten, one every `EVERY_S`."""
        self._waiting: set[str] = set()

    async def check(self, user: str, password: str) -> bool:
        """Return whether this is the user's password, after a wait where the client gave too many wrong ones.

        Raises:
            HTTPException: with status 429, where an answer to the client waits already, or too many do.
        """
        client, now = ASKING.get(), self._clock()
        due = max(self._due.get(client, now), now)
        wait_s = due - now - (AT_ONCE - 1) * EVERY_S
        if wait_s > 0 and (client in self._waiting or len(self._waiting) >= WAITING):
            again_s = math.ceil(wait_s)
            said = f"Too many wrong passwords; try again in {again_s} seconds."
            raise HTTPException(429, said, {"Retry-After": str(again_s)})
        self._due[client] = due + EVERY_S  # before the wait, so that nobody comes between
        if wait_s > 0:
            self._waiting.add(client)
            try:
                await self._sleep(wait_s)
            finally:
                self._waiting.discard(client)
        right = hmac.compare_digest(_digest(user, password), self._digest)
        if right and client in self._due:
            self._due[client] -= EVERY_S
        return right


def _digest(user: str, password: str) -> bytes:
    return hashlib.sha256(f"{len(user)} {user}{password}".encode("utf-8", "surrogatepass")).digest()

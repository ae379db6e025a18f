"""Finding the one request that kills an engine among the many that were in it.

When an engine dies, every request in it is a suspect. Suspects are tried again in small groups
while fresh requests wait; the group in which the engine dies again is tried one by one; a request
that was alone when the engine died is guilty. So an innocent request is never rejected, and a
poisonous one costs three restarts.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

LIMITS = {0: 10**9, 1: 16, 2: 1}
"""How many requests may be in the engine at once, by how often theirs has died before."""

GUILTY = len(LIMITS)
"""A request whose engine died this often is the one that kills it."""


class Quarantine:
    """Lets requests into the engine by how often their engine has died."""

    def __init__(self) -> None:
        self._turn = asyncio.Condition()
        self._waiting: Counter[int] = Counter()
        self._inside: Counter[int] = Counter()

    @asynccontextmanager
    async def admitted(self, deaths: int) -> AsyncIterator[None]:
        """Wait until requests with this many deaths may run, and count as one of them."""
        async with self._turn:
            self._waiting[deaths] += 1
            try:
                await self._turn.wait_for(lambda: self._may_enter(deaths))
            finally:
                self._waiting[deaths] -= 1
            self._inside[deaths] += 1
        try:
            yield
        finally:
            async with self._turn:
                self._inside[deaths] -= 1
                self._turn.notify_all()

    def _may_enter(self, deaths: int) -> bool:
        others_inside = any(n for level, n in self._inside.items() if level != deaths)
        worse_waiting = any(n for level, n in self._waiting.items() if level > deaths)
        return not others_inside and not worse_waiting and self._inside[deaths] < LIMITS[deaths]

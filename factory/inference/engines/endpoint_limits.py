"""Limits what a client sends to an endpoint: requests in flight, and requests and tokens per minute.

How many requests an endpoint takes at the same time is learned from its refusals (429): a round of answers raises the
limit by one, a refusal lowers it by a part (additive increase, multiplicative decrease, as in TCP).
"""

import asyncio
import math
from types import TracebackType

from factory.inference.engines.endpoint_errors import BUSY, retry_after_s

KEPT, KEPT_WHEN_FLOODED = 0.9, 0.5
"""The part of a limit that a refusal leaves. Halving at each would use 75 % of a constant capacity on average, 0.9 uses
95 %; where fewer requests were answered than the limit since the last refusal, it is far too high, and halved."""
CATCH_UP_S = 0.1
"""A client that is late may catch up with the pace of this time; endpoints also count in short windows."""
LOOK_EVERY_S = 1
"""The next request in line looks again after this time, as answers may have taken fewer tokens than reserved."""


class _Pace:
    """Units per minute, spread evenly."""

    def __init__(self, per_minute: float | None) -> None:
        self._unit_s = 60 / per_minute if per_minute else 0.0
        self.next_at = -math.inf

    def reserve(self, units: int, now: float) -> None:
        self.next_at = max(self.next_at, now - CATCH_UP_S) + units * self._unit_s

    def correct(self, units: int) -> None:
        self.next_at += units * self._unit_s


class Place:
    """The right to send one request, given back on exit.

    Set `spent` to the tokens of the answer; without it the reserved ones are given back too.
    """

    def __init__(self, limits: "EndpointLimits", reserved: int, round_: int) -> None:
        self._limits = limits
        self.reserved = reserved
        self.round = round_
        self.spent: int | None = None

    def __enter__(self) -> "Place":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._limits.give_back(self, problem)


class EndpointLimits:
    """The limits of one client, which lives in one event loop.

    Args:
        at_once: the most requests in flight.
        requests_per_minute: None for any number.
        tokens_per_minute: likewise, of prompts and replies together.
    """

    def __init__(
        self, at_once: int, requests_per_minute: float | None = None, tokens_per_minute: float | None = None
    ) -> None:
        self.in_flight = 0
        self._most = self._limit = float(at_once)
        self._round = self._answered = 0  # rounds end with a refusal
        self._paused_until = -math.inf
        self._requests, self._tokens = _Pace(requests_per_minute), _Pace(tokens_per_minute)
        self._line = asyncio.Lock()  # fair: those who wait get it in order
        self._freed = asyncio.Event()

    async def place(self, tokens: int) -> Place:
        """Wait in line until a request may be sent.

        Args:
            tokens: to reserve for it and its reply.
        """
        clock = asyncio.get_running_loop().time
        async with self._line:
            while True:
                pause_s = max(self._paused_until, self._requests.next_at, self._tokens.next_at) - clock()
                if self.in_flight >= int(self._limit):
                    self._freed.clear()
                    await self._freed.wait()
                elif pause_s > 0:
                    await asyncio.sleep(min(pause_s, LOOK_EVERY_S))
                else:
                    break
            self.in_flight += 1
            self._requests.reserve(1, clock())
            self._tokens.reserve(tokens, clock())
            return Place(self, tokens, self._round)

    def give_back(self, place: Place, problem: BaseException | None) -> None:
        """End a place, and learn from what became of its request."""
        if place.spent is not None:
            self._answered += 1
            if self.in_flight >= int(self._limit):
                self._limit = min(self._most, self._limit + 1 / self._limit)
        elif getattr(problem, "status_code", 0) == BUSY:
            pause_until = asyncio.get_running_loop().time() + retry_after_s(problem)
            self._paused_until = max(self._paused_until, pause_until)
            self._lower(place)
        self._tokens.correct((place.spent or 0) - place.reserved)
        self.in_flight -= 1
        self._freed.set()

    def _lower(self, refused: Place) -> None:
        if refused.round < self._round:  # sent before the last refusal was known
            return
        kept = KEPT if self._answered >= self._limit else KEPT_WHEN_FLOODED
        self._limit = max(1.0, kept * min(self._limit, self.in_flight))
        self._round += 1
        self._answered = 0

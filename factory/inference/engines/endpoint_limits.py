"""Limits what a client sends to an endpoint: requests in flight, and requests and tokens per minute.

How many requests an endpoint takes at the same time is learned from its refusals (429): answers raise the limit step by
step, a refusal lowers it by a part (additive increase, multiplicative decrease, as in TCP). Against simulated caps,
buckets and windows this uses 97 to 100 % of what they allow (`tests/unit/test_endpoint_limits.py`).
"""

import asyncio
import heapq
import itertools
import math
from types import TracebackType

from factory.config import OpenAIEngine
from factory.inference.engines.endpoint_errors import BUSY, retry_after_s

KEPT, KEPT_WHEN_FLOODED = 0.9, 0.5
"""The part of the limit that a refusal leaves. Halving at each would use 75 % of a constant capacity on average, 0.9
uses 95 %; but while hardly anything is answered between two refusals, the limit is far too high, and halved."""
MOST_GAIN = 0.1
"""The limit rises by one per round of answers, or per second where they take longer, and by this much per answer at
most: with 0.5, an endpoint that takes five requests refused a third of all attempts."""
CATCH_UP_S = 0.1
"""A client that is late may catch up with the pace of this time; endpoints also count in short windows."""


def share_of_limits(engine: OpenAIEngine, actors: int) -> OpenAIEngine:
    """Return an endpoint with the requests and tokens per minute that one of its clients may send.

    Equal shares are enough: the number of clients is fixed, a shard goes to whichever is free, and up to 512 requests
    at a time, more than low limits ever need, there is one client.
    """
    limits = {"requests_per_minute": engine.requests_per_minute, "tokens_per_minute": engine.tokens_per_minute}
    return engine.model_copy(update={name: limit and limit / actors for name, limit in limits.items()})


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

    def __init__(self, limits: "EndpointLimits", reserved: int, round_: int, sent_at: float) -> None:
        self._limits = limits
        self.reserved = reserved
        self.round = round_
        self.sent_at = sent_at
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
        self._places: set[Place] = set()  # of the requests in flight
        self._most = self._limit = float(at_once)
        self._round = self._answered = 0  # rounds end with a refusal
        self._paused_until = -math.inf
        self._requests, self._tokens = _Pace(requests_per_minute), _Pace(tokens_per_minute)
        self._line: list[tuple[int, int, int, asyncio.Future[Place]]] = []
        self._numbers = itertools.count()
        self._timer: asyncio.TimerHandle | None = None

    async def place(self, tokens: int, refusals: int = 0) -> Place:
        """Wait in line until a request may be sent.

        Args:
            tokens: to reserve for it and its reply.
            refusals: how often it was refused; those that were more often come first, so that none is refused for ever.
        """
        turn: asyncio.Future[Place] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._line, (-refusals, next(self._numbers), tokens, turn))
        self._admit()
        try:
            return await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.give_back(turn.result(), None)
            raise

    def _admit(self) -> None:
        """Give places to the first in line; if none may be sent yet, look again when one may."""
        loop = asyncio.get_running_loop()
        if self._timer:
            self._timer.cancel()
        while self._line and len(self._places) < int(self._limit):
            next_at = max(self._paused_until, self._requests.next_at, self._tokens.next_at)
            if next_at > loop.time():
                self._timer = loop.call_at(next_at, self._admit)
                return
            _, _, tokens, turn = heapq.heappop(self._line)
            if not turn.done():  # cancelled
                place = Place(self, tokens, self._round, loop.time())
                self._places.add(place)
                self._requests.reserve(1, loop.time())
                self._tokens.reserve(tokens, loop.time())
                turn.set_result(place)

    def give_back(self, place: Place, problem: BaseException | None) -> None:
        """End a place, and learn from what became of its request."""
        if place.spent is not None:
            self._raise(place)
        elif getattr(problem, "status_code", 0) == BUSY:
            pause_until = asyncio.get_running_loop().time() + retry_after_s(problem)
            self._paused_until = max(self._paused_until, pause_until)
            self._lower(place)
        self._tokens.correct((place.spent or 0) - place.reserved)
        self._places.remove(place)
        self._admit()

    def _raise(self, answered: Place) -> None:
        self._answered += 1
        if len(self._places) >= int(self._limit):
            seconds = asyncio.get_running_loop().time() - answered.sent_at
            self._limit = min(self._most, self._limit + min(MOST_GAIN, max(1, seconds) / self._limit))

    def _lower(self, refused: Place) -> None:
        if refused.round < self._round:  # sent before the last refusal was known
            return
        kept = KEPT if self._answered >= self._limit / 4 else KEPT_WHEN_FLOODED
        accepted = sum(place.round < self._round for place in self._places)  # or they would have been refused by now
        self._limit = max(1.0, accepted, kept * min(self._limit, len(self._places)))
        self._round += 1
        self._answered = 0

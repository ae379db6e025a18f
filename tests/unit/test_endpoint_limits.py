"""A client against simulated rate limits, in virtual time: it uses what there is, and loses nothing."""

import asyncio
import json
import math
import random
from collections.abc import Callable
from contextlib import suppress
from types import SimpleNamespace

import httpx2
import openai
import pytest
from pydantic import SecretStr

from factory.config import OpenAIEngine
from factory.inference.engines.endpoint_errors import is_temporary, max_rounds, retry_after_s, row_error
from factory.inference.engines.endpoint_limits import EndpointLimits, share_of_limits
from factory.inference.engines.openai_replica import OpenAIReplica
from factory.records import Message, Request, TokenSampling
from tests.virtual_clock import run_virtually

REQUEST = Request((Message("user", "a" * 400),), sampling=TokenSampling(max_tokens=300))
ANSWER = {
    "choices": [{"message": {"content": "hi"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 100, "completion_tokens": 100},
}


class BusyError(Exception):
    """A refusal with its headers."""


class Endpoint:
    """A simulated endpoint: how long it takes, and what `admit` refuses."""

    def __init__(self, admit: "Callable[[Endpoint, float], None]", seconds: float) -> None:
        self.admit, self.seconds = admit, seconds
        self.now = 0
        self.answered: list[float] = []
        self.refused = 0
        self.started: list[float] = []
        self._random = random.Random(7)

    async def create(self, **_: object) -> SimpleNamespace:
        clock = asyncio.get_running_loop().time
        await asyncio.sleep(0.02)  # the network
        try:
            self.admit(self, clock())
        except BusyError as busy:
            self.refused += 1
            response = httpx2.Response(429, headers=busy.args[0], request=httpx2.Request("POST", "http://host"))
            raise openai.RateLimitError("busy", response=response, body=None) from None
        self.started.append(clock())
        self.now += 1
        await asyncio.sleep(self.seconds * self._random.lognormvariate(-0.1, 0.45))
        self.now -= 1
        self.answered.append(clock())
        return SimpleNamespace(content=json.dumps(ANSWER), http_response=None)

    def rate(self, begin_s: float, end_s: float) -> float:
        return sum(begin_s <= at < end_s for at in self.answered) / (end_s - begin_s)


def at_most(n: int) -> Callable[[Endpoint, float], None]:
    def admit(endpoint: Endpoint, now: float) -> None:
        if endpoint.now >= n:
            raise BusyError({})

    return admit


def bucket(per_s: float, header: bool) -> Callable[[Endpoint, float], None]:
    """As OpenAI's: what a second gives may be used at any time within it."""
    left, filled_at = per_s, 0.0

    def admit(endpoint: Endpoint, now: float) -> None:
        nonlocal left, filled_at
        left, filled_at = min(per_s, left + (now - filled_at) * per_s), now
        if left < 1:
            wait_s = (1 - left) / per_s
            raise BusyError(
                {"retry-after-ms": str(wait_s * 1000), "retry-after": str(math.ceil(wait_s))} if header else {}
            )
        left -= 1

    return admit


def window(per_window: int, window_s: float) -> Callable[[Endpoint, float], None]:
    used: dict[int, int] = {}

    def admit(endpoint: Endpoint, now: float) -> None:
        number = int(now // window_s)
        if used.get(number, 0) >= per_window:
            raise BusyError({"Retry-After": str(math.ceil((number + 1) * window_s - now))})
        used[number] = used.get(number, 0) + 1

    return admit


def answers(endpoint: Endpoint, requests: int, at_once: int = 64, **settings: object) -> list[str]:
    """Send requests through a client; return their errors."""
    engine = OpenAIEngine(kind="openai", model="m", api_key_env=None, **settings)

    async def work() -> list[str]:
        replica = OpenAIReplica(engine, SecretStr("none"), at_once)
        create = SimpleNamespace(create=endpoint.create)
        client = SimpleNamespace(chat=SimpleNamespace(completions=SimpleNamespace(with_raw_response=create)))
        replica._clients_for = lambda max_tokens: [client]
        return [one.error for one in await asyncio.gather(*(replica.complete(REQUEST) for _ in range(requests)))]

    return run_virtually(work())


LIMITS = {
    "5 at once": (at_most(5), 1.0, 5.0),
    "20 at once": (at_most(20), 2.0, 10.0),
    "10 per second": (bucket(10, True), 1.0, 10.0),
    "10 per second, slowly": (bucket(10, True), 4.0, 10.0),
    "10 per second, without Retry-After": (bucket(10, False), 1.0, 10.0),
    "20 per second, quickly": (bucket(20, True), 0.1, 20.0),
    "600 per minute": (window(600, 60), 1.0, 10.0),
}


@pytest.mark.parametrize("name", LIMITS)
def test_refusals_teach_a_client_what_an_endpoint_takes(name):
    admit, seconds, per_s = LIMITS[name]
    endpoint = Endpoint(admit, seconds)
    requests = int(per_s * 210)
    assert answers(endpoint, requests) == [""] * requests
    assert 0.9 * per_s <= endpoint.rate(60, 180) <= 1.02 * per_s
    assert endpoint.refused < requests / 4


def test_a_client_without_refusals_uses_all_that_it_may():
    endpoint = Endpoint(at_most(64), 1)
    answers(endpoint, 64 * 20)
    assert endpoint.refused == 0
    assert endpoint.rate(2, 18) > 0.95 * 64 / 1.02


@pytest.mark.parametrize(
    ("settings", "per_s"),
    [({"requests_per_minute": 300}, 5), ({"requests_per_minute": 6_000}, 100), ({"tokens_per_minute": 60_000}, 5)],
)
def test_configured_limits_are_used_and_never_exceeded(settings, per_s):
    """A request has 200 tokens, and reserves 400 until its answer says so."""
    endpoint = Endpoint(bucket(per_s * 1.01 + 1, False), 0.1)
    requests = per_s * 30
    assert answers(endpoint, requests, **settings) == [""] * requests
    assert 0.95 * per_s <= endpoint.rate(5, 25) <= 1.02 * per_s
    assert endpoint.refused == 0


def test_a_pause_that_the_endpoint_asks_for_is_everybodys():
    def admit(endpoint: Endpoint, now: float) -> None:
        if endpoint.refused == 0:
            raise BusyError({"Retry-After": "30"})

    endpoint = Endpoint(admit, 1)
    assert answers(endpoint, 200, at_once=8) == [""] * 200
    late = [at for at in endpoint.started if at > 0.1]
    assert len(endpoint.started) - len(late) == 7, "those that were sent before the refusal was known"
    assert min(late) >= 30


def test_waiting_for_a_turn_is_no_part_of_the_deadline():
    endpoint = Endpoint(at_most(64), 1)
    errors = answers(endpoint, 60, requests_per_minute=6, deadline_s=20, timeout_s=20)
    assert errors == [""] * 60
    assert endpoint.answered[-1] > 580


def test_the_clients_of_a_run_share_its_limits():
    engine = OpenAIEngine(kind="openai", model="m", requests_per_minute=500, tokens_per_minute=None)
    share = share_of_limits(engine, 3)
    assert (share.requests_per_minute, share.tokens_per_minute) == (pytest.approx(500 / 3), None)


def test_a_place_is_given_back_whatever_becomes_of_its_request():
    async def work() -> None:
        limits = EndpointLimits(2)
        for problem in (ValueError, asyncio.CancelledError, None) * 5:
            place = await limits.place(10)
            with suppress(ValueError, asyncio.CancelledError), place:
                if problem:
                    raise problem
        assert not limits._places

    run_virtually(work())


def refused(headers: dict[str, str], status: int = 429, body: object = None) -> openai.APIStatusError:
    response = httpx2.Response(status, headers=headers, json=body, request=httpx2.Request("POST", "http://host"))
    return openai.APIStatusError(str(body), response=response, body=None)


IN_MANY_YEARS = "Wed, 21 Oct 2065 07:28:00 GMT"
PAUSES = {
    "2": 2,
    "0.5": 0.5,
    "-3": 0,
    "nan": 0,
    "inf": 120,
    "1" + 400 * "0": 120,
    "soon": 0,
    "": 0,
    IN_MANY_YEARS: 120,
    "Wed, 21 Oct 1965 07:28:00 GMT": 0,
    "Wed, 99 Oct 99999 07:28:00 GMT": 0,
}


@pytest.mark.parametrize(("header", "seconds"), PAUSES.items(), ids=lambda value: str(value)[:12])
def test_retry_after_is_read_in_all_of_its_forms(header, seconds):
    assert retry_after_s(refused({"Retry-After": header})) == seconds
    assert retry_after_s(refused({"Retry-After": header, "retry-after-ms": "1500"})) == 1.5


def test_a_request_that_is_too_large_for_a_minute_is_rejected_at_once():
    said = "Request too large for gpt-4o on tokens per min (TPM): Limit 30000, Requested 40001."
    problem = refused({}, body={"error": {"message": said, "code": "rate_limit_exceeded"}})
    assert not is_temporary(problem)
    assert max_rounds(problem) == 1
    assert row_error(SecretStr("none"), problem).reason == "too_long"

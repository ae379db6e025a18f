"""How fast the page's password can be guessed, by a clock that a test moves."""

import asyncio

import pytest
from fastapi import HTTPException

from factory.playground.login import ASKING, AT_ONCE, EVERY_S, WAITING, Login


class Clock:
    """Time that passes when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        await asyncio.sleep(0)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def login(clock):
    return Login("player", "sesame", clock, clock.sleep)


def tried(login: Login, password: str, client: str = "192.0.2.1", user: str = "player") -> bool:
    ASKING.set(client)
    return asyncio.run(login.check(user, password))


@pytest.mark.parametrize(
    ("user", "password"),
    [("player", "open"), ("other", "sesame"), ("", ""), ("playe", "rsesame"), ("player", "sesame "), ("x", "\ud800")],
)
def test_only_user_and_password_together_open(login, user, password):
    assert not tried(login, password, user=user)
    assert tried(login, "sesame")


def test_a_client_that_errs_often_is_answered_slowly(login, clock):
    began = clock.now
    for _ in range(AT_ONCE):
        assert not tried(login, "open")
    assert clock.now == began
    for _ in range(100):
        assert not tried(login, "open")
    assert clock.now - began == pytest.approx(100 * EVERY_S)


def test_the_right_password_opens_after_a_wait_and_costs_nothing(login, clock):
    for _ in range(AT_ONCE + 20):
        tried(login, "open")
    began = clock.now
    assert tried(login, "sesame", client="192.0.2.2")
    assert clock.now == began
    assert all(tried(login, "sesame") for _ in range(50))
    assert clock.now - began <= EVERY_S


def test_one_of_many_tries_at_once_waits_others_go(login):
    async def many() -> list[object]:
        return await asyncio.gather(*(login.check("player", "open") for _ in range(50)), return_exceptions=True)

    ASKING.set("192.0.2.1")
    answers = asyncio.run(many())
    away = [answer for answer in answers if isinstance(answer, HTTPException)]
    assert [answer for answer in answers if answer is False] == [False] * (AT_ONCE + 1)
    assert {answer.status_code for answer in away} == {429}
    assert all(1 <= int(answer.headers["Retry-After"]) <= EVERY_S for answer in away)


def test_what_is_kept_of_clients_is_bounded(login):
    async def clients() -> list[object]:
        async def one(number: int) -> object:
            ASKING.set(f"192.0.2.{number}")
            for _ in range(AT_ONCE):
                await login.check("player", "open")
            return await login.check("player", "open")

        return await asyncio.gather(*(one(number) for number in range(2 * WAITING)), return_exceptions=True)

    sent_away = [answer for answer in asyncio.run(clients()) if isinstance(answer, HTTPException)]
    assert len(sent_away) == WAITING
    assert not login._waiting
    for number in range(12_000):
        tried(login, "open", f"client {number}") if number % 1000 == 0 else login._due.update({f"client {number}": 0})
    assert len(login._due) == 10_000

"""Delays of the page's login, with a simulated clock."""

import asyncio

import pytest
from fastapi import HTTPException

from factory.playground.login import CLIENT, DELAY_S, FREE_TRIES, MAX_WAITING, Login


class Clock:
    """A clock that advances with each sleep."""

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


def log_in(login: Login, password: str, client: str = "192.0.2.1", user: str = "player") -> bool:
    CLIENT.set(client)
    return asyncio.run(login.check(user, password))


@pytest.mark.parametrize(
    ("user", "password"),
    [("player", "open"), ("other", "sesame"), ("", ""), ("playe", "rsesame"), ("player", "sesame "), ("x", "\ud800")],
)
def test_login_needs_user_and_password(login, user, password):
    assert not log_in(login, password, user=user)
    assert log_in(login, "sesame")


def test_many_wrong_passwords_delay_a_client(login, clock):
    began = clock.now
    for _ in range(FREE_TRIES):
        assert not log_in(login, "open")
    assert clock.now == began
    for _ in range(100):
        assert not log_in(login, "open")
    assert clock.now - began == pytest.approx(100 * DELAY_S)


def test_right_password_works_after_the_delay(login, clock):
    for _ in range(FREE_TRIES + 20):
        log_in(login, "open")
    began = clock.now
    assert log_in(login, "sesame", client="192.0.2.2")
    assert clock.now == began
    assert all(log_in(login, "sesame") for _ in range(50))
    assert clock.now - began <= DELAY_S


def test_one_of_many_concurrent_tries_waits(login):
    async def try_concurrently() -> list[object]:
        return await asyncio.gather(*(login.check("player", "open") for _ in range(50)), return_exceptions=True)

    CLIENT.set("192.0.2.1")
    answers = asyncio.run(try_concurrently())
    refused = [answer for answer in answers if isinstance(answer, HTTPException)]
    assert [answer for answer in answers if answer is False] == [False] * (FREE_TRIES + 1)
    assert {answer.status_code for answer in refused} == {429}
    assert all(1 <= int(answer.headers["Retry-After"]) <= DELAY_S for answer in refused)


def test_login_uses_bounded_memory(login):
    async def clients() -> list[object]:
        async def try_often(number: int) -> object:
            CLIENT.set(f"192.0.2.{number}")
            for _ in range(FREE_TRIES):
                await login.check("player", "open")
            return await login.check("player", "open")

        return await asyncio.gather(*(try_often(number) for number in range(2 * MAX_WAITING)), return_exceptions=True)

    refused = [answer for answer in asyncio.run(clients()) if isinstance(answer, HTTPException)]
    assert len(refused) == MAX_WAITING
    assert not login._waiting
    for number in range(12_000):
        log_in(login, "open", f"client {number}") if number % 1000 == 0 else login._due.update({f"client {number}": 0})
    assert len(login._due) == 10_000

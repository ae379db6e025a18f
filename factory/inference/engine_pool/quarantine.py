"""Finds the one request that kills engines among the many that were in a dead one.

When an engine dies, every request in it is a suspect. Suspects are answered on a replica of their own, in small
groups; the group in which it dies again is tried one by one; a request that was alone when the engine died is
guilty. So an innocent request is never rejected, and a poisonous one costs three starts of an engine.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from factory.inference.engine_pool.pool_settings import STALL_S
from factory.inference.engine_pool.replica_actor import is_loss, is_node_loss
from factory.inference.engines.backend import EngineDiedError
from factory.records import Completion, Request

GROUP = {1: 16, 2: 1}
"""How many suspects are in the engine at once, by how often theirs has died."""
GUILTY = 1 + len(GROUP)
"""A request whose engine died this often is the one that kills it."""


class Lender(Protocol):
    """The pool, as far as a quarantine needs it."""

    async def borrow(self) -> tuple[int, Any]:
        """Return a replica, with its number, that nobody else uses."""

    def give_back(self, number: int) -> None:
        """Let others use a replica again."""

    def lose(self, number: int) -> None:
        """Forget a dead replica."""


@dataclass(eq=False)
class _Suspect:
    request: Request
    completion: "asyncio.Future[Completion]"
    deaths: int = 1


@dataclass
class Quarantine:
    """Answers suspects of one engine."""

    lender: Lender
    spawn: Callable[[Any], Any]
    """Starts a coroutine as a task."""
    _suspects: list[_Suspect] = field(default_factory=list)
    _works: bool = False

    async def answer(self, request: Request) -> Completion:
        """Answer a request whose engine died; its completion says so if it is the one that kills engines."""
        suspect = _Suspect(request, asyncio.get_running_loop().create_future())
        self._suspects.append(suspect)
        if not self._works:
            self._works = True
            self.spawn(self._work())
        return await suspect.completion

    async def _work(self) -> None:
        try:
            while self._suspects:
                number, replica = await self.lender.borrow()
                if await self._answer_all(replica):
                    self.lender.give_back(number)
                else:
                    self.lender.lose(number)
        except Exception as problem:  # the pool is closed, or cannot start a replica
            for suspect in self._suspects:
                suspect.completion.set_exception(problem)
            self._suspects = []
        finally:
            self._works = False

    async def _answer_all(self, replica: Any) -> bool:
        """Answer suspects, those of the most deaths first; returns whether the replica outlived them."""
        while self._suspects:
            deaths = max(suspect.deaths for suspect in self._suspects)
            group = [suspect for suspect in self._suspects if suspect.deaths == deaths][: GROUP[deaths]]
            results = await _results([replica.answer.remote(suspect.request) for suspect in group])
            for suspect, result in zip(group, results, strict=True):
                self._settle(suspect, result)
            if any(map(is_loss, results)):
                return False
        return True

    def _settle(self, suspect: _Suspect, result: Completion | BaseException) -> None:
        if is_loss(result):
            suspect.deaths += not is_node_loss(result)
            if suspect.deaths < GUILTY:
                return
            cause = getattr(result, "cause", result)
            result = Completion(error="engine_died", detail=" ".join(f"{type(cause).__name__}: {cause}".split()))
        self._suspects.remove(suspect)
        if isinstance(result, Completion):
            suspect.completion.set_result(result)
        else:
            suspect.completion.set_exception(result)


async def _results(calls: Sequence[Awaitable[Completion]]) -> list[Completion | BaseException]:
    """Wait for all calls as long as one ends every `STALL_S`; an engine that is silent longer has died."""
    tasks = [asyncio.ensure_future(call) for call in calls]
    pending, done = set(tasks), set(tasks)
    while pending and done:
        done, pending = await asyncio.wait(pending, timeout=STALL_S, return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    silent = EngineDiedError(f"the engine answered nothing for {STALL_S:.0f} s")
    return [silent if task in pending else task.exception() or task.result() for task in tasks]

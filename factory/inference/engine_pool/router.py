"""The actor of Ray Data that takes shards, gives their requests to the replicas of a pool, and returns whole shards."""

import asyncio
import math
import pickle
import uuid
from collections import deque
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from factory.inference.engine_pool.pool_settings import SLOTS_AHEAD
from factory.inference.engine_pool.replica_actor import is_loss, is_node_loss
from factory.inference.engine_pool.router_reports import RouterReport
from factory.inference.engines.backend import EngineDiedError
from factory.records import Completion, Request
from factory.runtime.shutdown import StopFlag

MAX_GROUP = 16
"""Requests with the same first message that stay together, for the prefix cache of one replica."""
REPORT_EVERY_S = 0.5
LOSSES = 3
"""A request is a suspect once it was in so many replicas whose process ended; at once if the engine itself died."""


@dataclass(eq=False)
class OpenRequest:
    """A request that is not answered yet."""

    request: Request
    completion: "asyncio.Future[Completion]"
    losses: int = 0


@dataclass
class Group:
    """Requests that stay together."""

    rows: list[OpenRequest]
    home: int = 0
    """The replica that has got some of them."""


@dataclass
class Target:
    """A replica as a router sees it."""

    handle: Any
    load: int = 0
    answered: int = 0


class Router:
    """Gives each request to the replica with the fewest.

    Args:
        pools: the actor that owns the replicas.
        key: of the engine.
        stage: the rows that it serves.
        slots: of each replica, for this router.
        flag: no shard is begun once it is set.
    """

    def __init__(self, pools: Any, key: str, stage: str, slots: int, flag: StopFlag) -> None:
        self._pools, self._key, self._stage, self._slots, self._flag = pools, key, stage, slots, flag
        self._most = math.ceil(SLOTS_AHEAD * slots)
        self._name = uuid.uuid4().hex
        self._queue: deque[Group] = deque()
        self._targets: dict[int, Target] = {}
        self._gone: set[int] = set()
        self._tasks: set[Any] = set()
        self._open: set[OpenRequest] = set()
        self._answered = 0
        self._problem: BaseException | None = None
        self._is_started = False

    async def __call__(self, batch: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
        """Answer a batch of one shard; `requests` is emptied, as no later task reads it.

        Shards are read long before they are begun: once the run is to stop, they count as not read.
        """
        if await asyncio.to_thread(self._flag.is_set):
            yield {**batch, "is_read": [False], "requests": [b""], "completions": [b""]}
            return
        if not self._is_started:
            self._is_started = True
            self._spawn(self._follow())
            self._spawn(self._report())
        completions = await self.answer(pickle.loads(batch["requests"][0]))
        self._answered += int(batch["rows"][0]) - len(completions)  # those that were rejected unanswered
        yield {**batch, "requests": [b""], "completions": [pickle.dumps(completions)]}

    async def answer(self, requests: Sequence[Request]) -> list[Completion]:
        """Answer requests, in their order.

        Raises:
            Exception: the run cannot go on.
        """
        if self._problem:
            raise self._problem
        loop = asyncio.get_running_loop()
        rows = [OpenRequest(request, loop.create_future()) for request in requests]
        self._queue.extend(group_by_prefix(rows))
        self._open.update(rows)
        self._send_waiting()
        try:
            return await asyncio.gather(*(row.completion for row in rows))
        finally:
            self._open.difference_update(rows)

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _follow(self) -> None:
        """Follow which replicas there are."""
        version = -1
        while True:
            try:
                version, replicas = await self._pools.replicas.remote(self._key, version)
            except Exception as problem:
                self._end(problem)
                return
            for number in self._targets.keys() - replicas.keys():
                del self._targets[number]
            for number in replicas.keys() - self._targets.keys() - self._gone:
                self._targets[number] = Target(replicas[number])
            self._send_waiting()

    def _end(self, problem: BaseException) -> None:
        self._problem = getattr(problem, "cause", None) or problem
        self._queue.clear()
        for row in self._open:
            _settle(row, self._problem)

    async def _report(self) -> None:
        while True:
            report = RouterReport(
                open=len(self._open),
                answered=self._answered,
                loads={number: target.load for number, target in self._targets.items()},
                answered_by={number: target.answered for number, target in self._targets.items()},
            )
            await self._pools.report.remote(self._key, self._stage, self._name, report)
            await asyncio.sleep(REPORT_EVERY_S)

    def _send_waiting(self) -> None:
        """Give waiting groups to replicas while one has room."""
        while self._queue and self._targets:
            group = self._queue[0]
            number = self._choose(group)
            target = self._targets[number]
            if not self._takes(target, group):
                return  # no slot is idle: wait until the group fits
            room = self._most - target.load
            for row in group.rows[:room]:
                target.load += 1
                self._spawn(self._send(number, target, row))
            group.rows, group.home = group.rows[room:], number
            if not group.rows:
                self._queue.popleft()

    def _choose(self, group: Group) -> int:
        """Return the replica that has the group's earlier requests, if it has room, else the one with the fewest."""
        if group.home in self._targets and self._takes(self._targets[group.home], group):
            return group.home
        return min(self._targets, key=lambda number: self._targets[number].load)

    def _takes(self, target: Target, group: Group) -> bool:
        """Return whether a replica has an idle slot, or room for the whole group."""
        return target.load < self._slots or len(group.rows) <= self._most - target.load

    async def _send(self, number: int, target: Target, row: OpenRequest) -> None:
        try:
            result = await target.handle.answer.remote(row.request)
        except Exception as problem:
            if is_loss(problem):
                await self._lose(number, row, problem)
            else:
                self._end(problem)
        else:
            target.answered += 1
            self._answered += 1
            _settle(row, result)
        finally:
            target.load -= 1
            self._send_waiting()

    async def _lose(self, number: int, row: OpenRequest, problem: Exception) -> None:
        """Send the request of a lost replica to another one, or, if its engine may die of it, to the quarantine."""
        self._gone.add(number)
        if self._targets.pop(number, None):
            self._pools.lose.remote(self._key, number)  # if the pools are gone too, `_follow` ends all requests
        row.losses += not is_node_loss(problem)
        if self._problem:
            _settle(row, self._problem)
        elif isinstance(problem, EngineDiedError) or row.losses >= LOSSES:
            self._spawn(self._answer_suspect(row))
        else:
            self._queue.appendleft(Group([row]))

    async def _answer_suspect(self, row: OpenRequest) -> None:
        try:
            _settle(row, await self._pools.answer_suspect.remote(self._key, row.request))
            self._answered += 1
        except Exception as problem:
            self._end(problem)


def group_by_prefix(rows: Sequence[OpenRequest]) -> Iterator[Group]:
    """Yield neighbors with the same first message, in groups of up to `MAX_GROUP`."""
    for _, neighbors in groupby(rows, key=lambda row: row.request.messages[:1]):
        alike = list(neighbors)
        yield from (Group(alike[start : start + MAX_GROUP]) for start in range(0, len(alike), MAX_GROUP))


def _settle(row: OpenRequest, result: Completion | BaseException) -> None:
    """Set the result of a request once: a replica that was taken for dead may still answer."""
    if row.completion.done():
        return
    if isinstance(result, Completion):
        row.completion.set_result(result)
    else:
        row.completion.set_exception(result)

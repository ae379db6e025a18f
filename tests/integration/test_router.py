"""The router and the quarantine with replicas that are played, and the sizes of a pool."""

import asyncio
import pickle
import time
from collections import Counter
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ray.exceptions import ActorDiedError, RayActorError

from factory.errors import ModelError
from factory.inference.engine_pool.pool import START_FAILURES, EnginePool, RunningReplica
from factory.inference.engine_pool.pool_settings import MAX_SHARDS, PoolSettings, router_sizes, wanted_replicas
from factory.inference.engine_pool.quarantine import GROUP, GUILTY, Quarantine
from factory.inference.engine_pool.replica_actor import is_loss, is_node_loss
from factory.inference.engine_pool.router import LOSSES, MAX_GROUP, Group, OpenRequest, Router, Target, group_by_prefix
from factory.inference.engine_pool.router_reports import SILENCE_S, RouterReport
from factory.inference.engines.backend import EngineDiedError
from factory.records import Completion, Message, Request


def remote(function):
    """A method as an actor's handle has it: it runs whether or not its result is awaited."""
    return SimpleNamespace(remote=lambda *arguments: asyncio.ensure_future(function(*arguments)))


def request(text, system="s"):
    return Request((Message("system", system), Message("user", str(text))))


def text_of(request):
    return request.messages[-1].content


class PlayedPools:
    """The actor that owns the replicas, for one engine."""

    def __init__(self, replicas) -> None:
        self.up, self.version, self.changed = dict(enumerate(replicas)), 0, asyncio.Condition()
        self.lost, self.suspects, self.problem = [], [], None

    async def _replicas(self, key, version):
        async with self.changed:
            await self.changed.wait_for(lambda: self.problem or self.version != version)
        if self.problem:
            raise self.problem
        return self.version, dict(self.up)

    async def _report(self, *report):
        self.last_report = report[-1]

    async def _lose(self, key, number):
        self.lost.append(number)
        await self.change(number, None)

    async def _answer_suspect(self, key, request):
        self.suspects.append(text_of(request))
        return Completion(error="engine_died")

    async def change(self, number, replica):
        if replica:
            self.up[number] = replica
        else:
            self.up.pop(number, None)
        await self.publish()

    async def publish(self):
        async with self.changed:
            self.version += 1
            self.changed.notify_all()

    def __getattr__(self, name):
        return remote(getattr(self, f"_{name}"))


class PlayedReplica:
    """Answers once it may, or fails."""

    def __init__(self, failure=None, seconds=0.001) -> None:
        self.failure, self.seconds, self.got, self.open, self.most_open = failure, seconds, [], 0, 0
        self.answer = remote(self._answer)

    async def _answer(self, request):
        self.got.append(text_of(request))
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        await asyncio.sleep(self.seconds)
        self.open -= 1
        if self.failure:
            raise self.failure
        return Completion((text_of(request),))


NEVER = SimpleNamespace(is_set=lambda: False)


async def answers(pools, requests, slots=8, flag=NEVER):
    router = Router(pools, "key", "stage", slots, flag)
    batch = {"requests": [pickle.dumps(requests)], "rows": [len(requests)], "number": [7]}
    (row,) = [row async for row in router(batch)]
    assert (row["number"], row["requests"]) == ([7], [b""])
    return pickle.loads(row["completions"][0])


def answered(pools, requests, slots=8):
    async def run():
        return await asyncio.wait_for(answers(pools(), requests, slots), 20)

    return asyncio.run(run())


def test_requests_are_spread_over_replicas_and_answered_in_order():
    replicas = [PlayedReplica(), PlayedReplica(), PlayedReplica()]
    requests = [request(n, system=n) for n in range(90)]
    completions = answered(lambda: PlayedPools(replicas), requests)
    assert [c.replies[0] for c in completions] == [str(n) for n in range(90)]
    assert sum(len(replica.got) for replica in replicas) == 90
    assert min(len(replica.got) for replica in replicas) >= 20
    assert max(replica.most_open for replica in replicas) <= 10  # a quarter more than its slots


def test_requests_with_one_opening_go_to_one_replica():
    replicas = [PlayedReplica(), PlayedReplica()]
    answered(lambda: PlayedPools(replicas), [request(n, system=n // 4) for n in range(40)], slots=16)
    homes = {tuple(sorted({int(text) // 4 for text in replica.got})) for replica in replicas}
    assert Counter(number for home in homes for number in home) == dict.fromkeys(range(10), 1)


@given(st.lists(st.integers(0, 3), max_size=60))
def test_groups_are_neighbors_with_one_opening(openings):
    rows = [OpenRequest(request(n, system=opening), None) for n, opening in enumerate(openings)]
    groups = list(group_by_prefix(rows))
    assert [row for group in groups for row in group.rows] == rows
    assert all(len({row.request.messages[0] for row in group.rows}) == 1 for group in groups)
    assert all(len(group.rows) <= MAX_GROUP for group in groups)


def process_died():
    return RayActorError(error_msg="The actor died unexpectedly")


def test_the_requests_of_a_lost_replica_go_to_another():
    made = []

    def pools():
        made.append(PlayedPools([PlayedReplica(process_died()), PlayedReplica()]))
        return made[0]

    completions = answered(pools, [request(n, system=n) for n in range(40)])
    assert [c.replies[0] for c in completions] == [str(n) for n in range(40)]
    assert made[0].lost == [0]
    assert not made[0].suspects


@pytest.mark.parametrize(
    ("failure", "suspected"),
    [
        (EngineDiedError("the engine ended"), True),
        (process_died(), False),
        (RayActorError(error_msg="The actor died because its node has died."), False),
    ],
)
def test_only_the_death_of_an_engine_makes_suspects_at_once(failure, suspected):
    made = []

    def pools():
        made.append(PlayedPools([PlayedReplica(failure), PlayedReplica()]))
        return made[0]

    completions = answered(pools, [request(n) for n in range(4)])
    assert [c.error for c in completions] == ["engine_died" if suspected else ""] * 4
    assert sorted(made[0].suspects) == (["0", "1", "2", "3"] if suspected else [])


def test_a_request_whose_replicas_keep_ending_becomes_a_suspect_unless_machines_end():
    async def run(failure):
        pools = PlayedPools([PlayedReplica(failure) for _ in range(LOSSES + 2)])
        pools.up = {0: pools.up[0]}
        spare = [PlayedReplica(failure) for _ in range(LOSSES)] + [PlayedReplica()]

        async def replace():
            for number, replica in enumerate(spare, 1):
                while number > len(pools.lost):
                    await asyncio.sleep(0.001)
                await pools.change(number, replica)

        task = asyncio.create_task(replace())
        (completion,) = await asyncio.wait_for(answers(pools, [request("x")]), 20)
        task.cancel()
        return completion, pools

    completion, pools = asyncio.run(run(process_died()))
    assert (completion.error, pools.suspects, len(pools.lost)) == ("engine_died", ["x"], LOSSES)
    completion, pools = asyncio.run(run(RayActorError(error_msg="because its node has died")))
    assert (completion.replies, pools.suspects, len(pools.lost)) == (("x",), [], LOSSES + 1)


def test_an_error_of_the_run_ends_all_requests_with_it():
    with pytest.raises(ModelError, match="no such weights"):
        answered(lambda: PlayedPools([PlayedReplica(ModelError("no such weights"))]), [request(n) for n in range(99)])


def test_a_request_ends_if_its_replica_and_the_pool_are_gone():
    class Gone(PlayedPools):
        async def _lose(self, key, number):
            self.problem = process_died()
            await self.publish()
            raise self.problem

    with pytest.raises(RayActorError):
        answered(lambda: Gone([PlayedReplica(process_died())]), [request(1)])


def test_a_replica_does_not_wait_for_a_group_whose_first_rows_went_to_a_busy_one():
    busy, idle = Target(None, load=9), Target(None, load=0)  # of 8 slots, and at most 10

    async def run():
        router = Router(PlayedPools([]), "key", "stage", 8, NEVER)
        router._targets = {1: busy, 2: idle}
        row = OpenRequest(request("x"), None)
        return router._choose(Group([row] * 6, home=1)), router._choose(Group([row], home=1))

    assert asyncio.run(run()) == (2, 1)


def test_a_pool_that_cannot_start_ends_requests_that_wait():
    def pools():
        made = PlayedPools([])
        made.problem = ModelError("cannot start")
        return made

    with pytest.raises(ModelError, match="cannot start"):
        answered(pools, [request(1)])


def test_requests_in_flight_end_with_the_pools():
    """Also those of a replica that was lost while the pools no longer answered."""

    async def run():
        pools = PlayedPools([PlayedReplica(process_died(), seconds=0.05)])
        asking = asyncio.create_task(answers(pools, [request(1)]))
        await asyncio.sleep(0.02)
        pools.problem = ModelError("the pools are gone")
        await pools.publish()
        await asyncio.wait_for(asking, 20)

    with pytest.raises(ModelError, match="the pools are gone"):
        asyncio.run(run())


def test_no_shard_is_begun_once_the_run_is_to_stop():
    async def run():
        router = Router(PlayedPools([]), "key", "stage", 8, SimpleNamespace(is_set=lambda: True))
        return [row async for row in router({"requests": [pickle.dumps([request(1)])], "rows": [1], "is_read": [True]})]

    ((row),) = asyncio.run(run())
    assert (row["is_read"], row["completions"]) == ([False], [b""])


def test_what_counts_as_a_loss():
    assert is_loss(EngineDiedError())
    assert is_loss(ActorDiedError())
    assert not is_loss(ModelError("x"))
    assert not is_loss(Completion())
    assert is_node_loss(RayActorError(error_msg="The actor died because its node has died. Node Id: 1"))
    assert is_node_loss(RayActorError(preempted=True))
    assert not is_node_loss(process_died())


@given(st.integers(0, 10**9), st.integers(1, 1024), st.integers(1, 50), st.integers(0, 1000))
def test_as_many_replicas_as_the_rows_fill(rows, slots, fewest, more):
    wanted = wanted_replicas(rows, slots, (fewest, fewest + more))
    assert (fewest if rows else 0) <= wanted <= fewest + more
    assert wanted <= fewest or (wanted - 1) * slots < rows
    assert wanted == fewest + more or wanted * slots >= rows


@given(st.integers(1, 1024), st.integers(1, 200), st.integers(1, 10**7), st.integers(1, 5000), st.floats(0, 30))
def test_routers_hold_enough_for_all_replicas_and_no_more(slots, most, rows, shard_rows, longest_to_mean):
    sizes = router_sizes(PoolSettings("k", "m", Completion, slots, (1, most)), rows, shard_rows, longest_to_mean)
    window = min(max(6, longest_to_mean + 1.5) * slots * most, rows)
    assert sizes.routers * sizes.slots >= slots
    assert sizes.routers * sizes.shards * shard_rows >= window or sizes.shards == MAX_SHARDS
    assert (sizes.shards - 2) * shard_rows * sizes.routers < window  # and a shard above it for each router


class FragileEngines:
    """Engines that die with every request in them as soon as a poisoned one has been in them for a moment."""

    def __init__(self, poisoned) -> None:
        self.poisoned, self.deaths, self.borrowed, self.most_inside, self.alone = poisoned, 0, 0, 0, 0

    async def borrow(self):
        await asyncio.sleep(0)
        self.borrowed += 1
        inside = {}

        async def answer(request):
            number = int(text_of(request))
            inside[number] = asyncio.get_running_loop().create_future()
            self.most_inside = max(self.most_inside, len(inside))
            await asyncio.sleep(0)
            if number in self.poisoned and not inside[number].done():
                self.deaths += 1
                for other in list(inside.values()):
                    other.done() or other.set_exception(EngineDiedError("poison"))
            done = inside[number]
            asyncio.get_running_loop().call_soon(lambda: done.done() or done.set_result(None))
            try:
                await done
            finally:
                del inside[number]
            return Completion((str(number),))

        return self.borrowed, SimpleNamespace(answer=remote(answer))

    def give_back(self, number):
        self.given_back = number

    def lose(self, number):
        assert number == self.borrowed


@settings(deadline=None, max_examples=40)
@given(size=st.integers(1, 120), data=st.data())
def test_only_poisoned_requests_are_rejected(size, data):
    poisoned = data.draw(st.sets(st.integers(0, size - 1), max_size=4))
    engines = FragileEngines(poisoned)

    async def run():
        quarantine = Quarantine(engines, asyncio.create_task)
        return await asyncio.wait_for(asyncio.gather(*(quarantine.answer(request(n)) for n in range(size))), 20)

    completions = asyncio.run(run())
    assert [n for n, completion in enumerate(completions) if completion.error] == sorted(poisoned)
    assert {completion.error for completion in completions} <= {"", "engine_died"}
    assert engines.deaths <= (GUILTY - 1) * len(poisoned)
    assert engines.most_inside <= GROUP[1]


def test_a_machine_lost_under_suspects_makes_none_of_them_guilty():
    class Lost(FragileEngines):
        async def borrow(self):
            self.borrowed += 1
            node_lost = RayActorError(error_msg="because its node has died")
            return self.borrowed, PlayedReplica(node_lost if self.borrowed <= GUILTY else None)

    completion = asyncio.run(Quarantine(Lost(set()), lambda work: asyncio.ensure_future(work)).answer(request(1)))
    assert completion.replies == ("1",)


def test_machines_lost_while_engines_start_do_not_end_the_run():
    async def failed(problem, starts):
        pool = EnginePool(PoolSettings("k", "m", Completion, 8, (1, 1)), asyncio.ensure_future)
        for number in range(starts):
            pool.starting[number] = starting = PlayedReplica()

            async def ready():
                raise problem

            starting.ready = remote(ready)
            await pool._wait_until_up(number, starting)
        return pool._problem

    lost = RayActorError(error_msg="because its node has died")
    assert asyncio.run(failed(lost, START_FAILURES + 1)) is None
    assert isinstance(asyncio.run(failed(process_died(), START_FAILURES)), ModelError)


def test_a_silent_router_holds_no_requests():
    async def run():
        pool = EnginePool(PoolSettings("k", "m", Completion, 8, (1, 4)), asyncio.ensure_future)
        pool.up = {1: RunningReplica(None, 0), 2: RunningReplica(None, 0)}
        pool.expect("stage", 40)
        pool.report("stage", "dead", RouterReport(open=24, answered=8, loads={1: 8, 2: 8}, answered_by={1: 8}))
        pool.look(others_wait=False)
        before = pool.wanted, pool.state().open, pool.up[1].load
        pool._reports.empty_silent(time.monotonic() + SILENCE_S + 1)
        pool.report("stage", "alive", RouterReport(open=8, answered=24, loads={1: 8}, answered_by={1: 24}))
        pool.look(others_wait=False)
        return before, (pool.wanted, pool.state().open, pool.up[1].load, pool.up[2].load)

    assert asyncio.run(run()) == ((4, 24, 8), (1, 8, 8, 0))


def answered_late(seconds, size):
    """What a quarantine makes of requests whose engine takes `seconds[number]`, else no time."""

    class Late(FragileEngines):
        async def borrow(self):
            number, replica = await super().borrow()
            reply = replica.answer

            async def answer(request):
                await asyncio.sleep(seconds.get(int(text_of(request)), 0))
                return await reply.remote(request)

            return number, SimpleNamespace(answer=remote(answer))

    async def run():
        quarantine = Quarantine(Late(set()), asyncio.ensure_future)
        return await asyncio.gather(*(quarantine.answer(request(str(number))) for number in range(size)))

    return asyncio.run(run())


def test_an_engine_that_hangs_in_quarantine_counts_as_dead(monkeypatch):
    monkeypatch.setattr("factory.inference.engine_pool.quarantine.STALL_S", 0.05)
    completions = answered_late({3: 60}, 6)
    assert [bool(completion.error) for completion in completions] == [number == 3 for number in range(6)]
    assert "answered nothing" in completions[3].detail


def test_an_engine_that_is_slow_in_quarantine_counts_from_its_last_answer(monkeypatch):
    monkeypatch.setattr("factory.inference.engine_pool.quarantine.STALL_S", 0.4)
    assert not any(completion.error for completion in answered_late({number: 0.1 * number for number in range(10)}, 10))


def test_closing_a_pool_ends_the_replicas_that_retire(monkeypatch):
    closed = []

    class Busy:
        def __init__(self):
            self.drained, self.close = remote(self._drained), remote(self._close)

        async def _drained(self):
            await asyncio.sleep(60)

        async def _close(self):
            closed.append(self)

    async def run():
        pool = EnginePool(PoolSettings("k", "m", Completion, 8, (1, 1)), asyncio.ensure_future)
        replica = Busy()
        pool.up[1] = RunningReplica(replica, 0)
        retiring = asyncio.ensure_future(pool._retire(1))
        await asyncio.sleep(0)
        await pool.close()
        retiring.cancel()
        return closed == [replica]

    monkeypatch.setattr("ray.kill", lambda handle: None)
    assert asyncio.run(run())


def test_a_quarantine_without_an_engine_ends_its_requests():
    class Closed(FragileEngines):
        async def borrow(self):
            raise ModelError("cannot start")

    async def run():
        await Quarantine(Closed(set()), asyncio.create_task).answer(request(1))

    with pytest.raises(ModelError, match="cannot start"):
        asyncio.run(run())

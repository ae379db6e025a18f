"""Pools of fake engines on a real Ray, in a process of their own: `python -m tests.integration.pool_scenarios NAME`.

Each scenario prints one line: its name, and what was found as JSON.
"""

import json
import os
import pickle
import random
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import ray

from factory.inference.engine_pool.open_pools import OpenPools, open_pools
from factory.inference.engine_pool.pool_settings import PoolSettings
from factory.inference.engines.backend import EngineDiedError, Replica, ShardedWork
from factory.records import Completion, Message, Request
from factory.runtime import ray_session
from factory.runtime.shutdown import StopFlag

SLOTS = 32
SECONDS = 0.4


class FakeEngine(Replica):
    """Replies after a lognormal time, and notes when it began and ended.

    Args:
        notes: the folder of its notes.
        seconds: of a reply, on average.
        sigma: of the logarithm.
    """

    def __init__(self, notes: str, seconds: float = SECONDS, sigma: float = 0.8) -> None:
        import asyncio

        self._seconds, self._sigma = seconds, sigma
        self._slots = asyncio.Semaphore(SLOTS)
        self._notes = Path(notes, f"{os.getpid()}.jsonl").open("a", buffering=1)  # noqa: SIM115  # open as long as it lives
        self._notes.write(json.dumps({"up": time.time()}) + "\n")
        self._died = False

    async def complete(self, request: Request) -> Completion:
        import asyncio

        text = request.messages[-1].content
        async with self._slots:
            began = time.time()
            if "poison" in text:
                await asyncio.sleep(0.1)
                self._died = True
            if self._died:
                raise EngineDiedError("the engine ended")
            shape = (-(self._sigma**2) / 2, self._sigma)
            await asyncio.sleep(self._seconds * min(random.Random(text).lognormvariate(*shape), 8))
            if self._died:
                raise EngineDiedError("the engine ended")
            self._notes.write(json.dumps({"row": text, "began": began, "ended": time.time()}) + "\n")
        return Completion((f"reply to {text}",), 1, 1)


@dataclass
class Outcome:
    """What a stage of work did."""

    replies: list[str]
    engines: dict[int, list[dict[str, Any]]]
    """The notes of each engine, by the pid of its process."""
    ups: list[float]

    def busy_share(self, since: float, until: float, replicas: int) -> float:
        """The share of slots in use between two moments."""
        spans = [(n["began"], n["ended"]) for notes in self.engines.values() for n in notes]
        used = sum(max(0.0, min(end, until) - max(began, since)) for began, end in spans)
        return used / (SLOTS * replicas * (until - since))

    def middle(self) -> tuple[float, float]:
        """The moments between which the middle 60 % of the rows ended."""
        ends = sorted(n["ended"] for notes in self.engines.values() for n in notes)
        return ends[len(ends) // 5], ends[4 * len(ends) // 5]


def shard(rows: list[str], row: dict[str, Any]) -> dict[str, Any]:
    requests = [Request((Message("user", text),)) for text in rows[row["start"] : row["end"]]]
    return {"number": row["start"], "rows": len(requests), "requests": pickle.dumps(requests)}


def work(rows: list[str], shard_rows: int) -> ShardedWork:
    starts = [*range(0, len(rows), shard_rows), len(rows)]
    parts = [{"start": start, "end": end} for start, end in pairwise(starts)]
    shards = ray_session.dataset_of(parts).map(partial(shard, rows), num_cpus=0.5)
    return ShardedWork(shards, shard_rows, len(rows), StopFlag("/nonexistent/stop"))


def settings(notes: str, replicas: tuple[int, int], **engine: float) -> PoolSettings:
    return PoolSettings(notes, "fake", partial(FakeEngine, notes, **engine), SLOTS, replicas)


def read_notes(folder: str) -> tuple[dict[int, list[dict[str, Any]]], list[float]]:
    engines, ups = {}, []
    for path in Path(folder).iterdir():
        first, *rest = [json.loads(line) for line in path.read_text().splitlines() if line.endswith("}")]
        engines[int(path.stem)] = rest
        ups.append(first["up"])
    return engines, sorted(ups)


def answer(pools: OpenPools, pool: PoolSettings, rows: list[str], shard_rows: int) -> Outcome:
    replies = {}
    for row in pools.answer(pool, work(rows, shard_rows)).iter_rows():
        assert row["number"] not in replies
        replies[row["number"]] = [c.replies[0] if c.replies else c.error for c in pickle.loads(row["completions"])]
    pools.release(pool.key)
    return Outcome([reply for number in sorted(replies) for reply in replies[number]], *read_notes(pool.key))


def texts(count: int) -> list[str]:
    return [f"row {number}" for number in range(count)]


def expected(rows: list[str]) -> list[str]:
    return [f"reply to {row}" for row in rows]


def growth(notes: str) -> dict[str, Any]:
    rows = texts(1500)
    with open_pools() as pools:
        outcome = answer(pools, settings(notes, (1, 3)), rows, 16)
    return {
        "replicas": len(outcome.engines),
        "whole": outcome.replies == expected(rows),
        "seconds between first and last start": round(outcome.ups[-1] - outcome.ups[0], 1),
        "rows of each": [len(engine) for engine in outcome.engines.values()],
    }


def fill(notes: str, shard_rows: int, count: int, seconds: float) -> dict[str, Any]:
    rows = texts(count)
    with open_pools() as pools:
        outcome = answer(pools, settings(notes, (2, 2), seconds=seconds), rows, shard_rows)
    return {
        "busy": round(outcome.busy_share(*outcome.middle(), 2), 3),
        "whole": outcome.replies == expected(rows),
        "twice": sum(len(engine) for engine in outcome.engines.values()) - count,
    }


def killed(notes: str) -> dict[str, Any]:
    rows = texts(2000)
    moment: list[float] = []

    def kill() -> None:
        while len(read_notes(notes)[0]) < 2 or sum(map(len, read_notes(notes)[0].values())) < 500:
            time.sleep(0.1)
        os.kill(next(iter(read_notes(notes)[0])), signal.SIGKILL)
        moment.append(time.time())

    threading.Thread(target=kill, daemon=True).start()
    with open_pools() as pools:
        outcome = answer(pools, settings(notes, (2, 2)), rows, 16)
    again = outcome.ups[-1]
    return {
        "whole": outcome.replies == expected(rows),
        "replicas": len(outcome.engines),
        "busy until the next is up": round(outcome.busy_share(moment[0], max(again, moment[0] + 1), 1), 3),
    }


def poison(notes: str) -> dict[str, Any]:
    rows = texts(600)
    rows[200] = "row 200 with poison"
    with open_pools() as pools:
        outcome = answer(pools, settings(notes, (2, 2)), rows, 16)
    wrong = [(row, reply) for row, reply in zip(rows, outcome.replies, strict=True) if reply != f"reply to {row}"]
    return {"wrong": wrong, "engines": len(outcome.engines)}


def tail(notes: str) -> dict[str, Any]:
    rows = texts(SLOTS * 3)
    with open_pools() as pools:
        pools.is_kept = True
        answer(pools, settings(notes, (3, 3), sigma=0), [*rows, *rows], 16)
        while pools.state(notes).up < 3:
            time.sleep(0.1)
        before = {pid: len(engine) for pid, engine in read_notes(notes)[0].items()}
        outcome = answer(pools, settings(notes, (3, 3), sigma=0), rows, len(rows))
    return {"rows of each": [len(engine) - before[pid] for pid, engine in outcome.engines.items()]}


def two_stages(notes: str) -> dict[str, Any]:
    rows = texts(400)
    with open_pools() as pools:
        pools.is_kept = True
        first = answer(pools, settings(notes, (2, 2)), rows, 16)
        second = answer(pools, settings(notes, (2, 2)), rows, 64)
        state = pools.state(notes)
    return {
        "whole": first.replies == second.replies == expected(rows),
        "engines": len(second.engines),
        "up at the end": state.up if state else 0,
    }


def _broken() -> Replica:
    raise RuntimeError("no such weights")


def never_starts(notes: str) -> dict[str, Any]:
    begun = time.monotonic()
    try:
        with ray_session.reraise_own_errors(), open_pools() as pools:
            answer(pools, replace(settings(notes, (1, 3)), start=_broken), texts(100), 16)
    except Exception as problem:
        return {"error": f"{type(problem).__name__}: {problem}", "seconds": round(time.monotonic() - begun, 1)}
    return {}


def room_for_two(notes: str) -> dict[str, Any]:
    """Three engines of a GPU each, on a machine that seems to have two."""
    keys = []
    with open_pools() as pools:
        datasets = []
        for name in ("a", "b", "c"):
            folder = Path(notes, name)
            folder.mkdir()
            keys.append(str(folder))
            pool = replace(settings(keys[-1], (1, 1)), resources={"GPU": 1})
            datasets.append((keys[-1], pools.answer(pool, work(texts(300), 16))))
        first, *others = [dataset.map(partial(_with_key, key)) for key, dataset in datasets]
        left = dict.fromkeys(keys, 300)
        for row in first.union(*others).iter_rows():
            left[row["key"]] -= len(pickle.loads(row["completions"]))
            if not left[row["key"]]:
                pools.release(row["key"])
    spans = sorted((ups[0], max(n["ended"] for n in engines.popitem()[1])) for engines, ups in map(read_notes, keys))
    return {
        "left": sum(left.values()),
        "second before the first ended": spans[1][0] < spans[0][1],
        "third after the first ended": spans[2][0] > spans[0][1],
    }


def followed(notes: str) -> dict[str, Any]:
    """One to three replicas on a cluster that starts a node for each of them, and ends it again."""
    rows, last = texts(4000), texts(SLOTS)
    replicas, nodes = [], []

    def look(until: Callable[[], bool]) -> None:
        while not until():
            count = sum(node["Alive"] and "engine" in node["Resources"] for node in ray.nodes())
            state = pools.state(notes)
            for history, value in ((replicas, state.up if state else 0), (nodes, count)):
                if history[-1:] != [value]:
                    history.append(value)
            time.sleep(0.2)

    with open_pools() as pools:
        pools.is_kept = True
        pool = replace(settings(notes, (1, 3)), resources={"engine": 1}, idle_s=3)
        ended = threading.Event()
        thread = threading.Thread(target=look, args=(ended.is_set,))
        thread.start()
        first = answer(pools, pool, rows, 16)
        ended.set()
        thread.join()
        look(lambda: nodes[-1] == 1)
        second = answer(pools, pool, last, 16)
    look(lambda: nodes[-1] == 0)
    return {
        "whole": first.replies == expected(rows) and second.replies == expected(last),
        "engines": len(second.engines),
        "replicas": replicas,
        "nodes": nodes,
    }


def _with_key(key: str, row: dict[str, Any]) -> dict[str, Any]:
    return {**row, "key": key}


SCENARIOS: dict[str, Callable[[str], dict[str, Any]]] = {
    "growth": growth,
    "fill-16": partial(fill, shard_rows=16, count=1500, seconds=0.4),
    "fill-4096": partial(fill, shard_rows=4096, count=3 * 4096, seconds=0.15),
    "killed": killed,
    "poison": poison,
    "tail": tail,
    "two-stages": two_stages,
    "never-starts": never_starts,
    "room-for-two": room_for_two,
    "followed": followed,
}


def run(names: list[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    os.environ["RAY_OVERRIDE_RESOURCES"] = json.dumps({"GPU": 2})
    ray_session.start_ray(local_cpus=3)
    for name in names:
        with tempfile.TemporaryDirectory() as notes:
            begun = time.monotonic()
            found = SCENARIOS[name](notes)
            yield name, {**found, "took": round(time.monotonic() - begun, 1)}


if __name__ == "__main__":
    for name, found in run(sys.argv[1:]):
        print(name, json.dumps(found), flush=True)

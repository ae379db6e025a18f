"""A pool of engines on real Ray: the engines are fake, everything around them is what a run has."""

import json
import os
import subprocess
import sys

from tests.integration.runs import PROJECT

POOL = """
import asyncio, json, sys
import ray
from factory import models, runtime
from factory.config import Sampling, VllmEngine
from factory.engine import shard_engine
from factory.engine.vllm import VllmGeneration
from factory.runtime import each

class FakeEngine:
    def __init__(self, *settings):
        pass

    async def __call__(self, batch):
        await asyncio.sleep(0.3)
        yield {**batch, "engine": [ray.get_runtime_context().get_actor_id()]}

shard_engine.ShardEngine = FakeEngine
runtime.start(local_cpus=5)
for sequences, shard_rows, shards in json.loads(sys.argv[1]):
    engine = VllmEngine(model="embedded", device="cpu", replicas=[1, 3], engine_kwargs={"max_num_seqs": sequences})
    generation = VllmGeneration(engine, models.locate("embedded"), Sampling(), 0, shard_rows)
    rows = generation(each([{"shard": str(number)} for number in range(shards)])).take_all()
    print(json.dumps([len({row["engine"] for row in rows}), sorted(int(row["shard"]) for row in rows)]))
"""
SMALL_SHARDS = [8, 16, 120]
LARGE_SHARDS = [64, 4096, 120]  # one of them is more than an engine works on at a time


def test_a_pool_grows_to_three_replicas():
    cases = [SMALL_SHARDS, LARGE_SHARDS]
    command = [sys.executable, "-c", POOL, json.dumps(cases)]
    ended = subprocess.run(command, cwd=PROJECT, env=os.environ, capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, ended.stderr[-3000:]
    replicas_and_rows = [json.loads(line) for line in ended.stdout.splitlines() if line.startswith("[")]
    assert replicas_and_rows == [[3, list(range(shards))] for _, _, shards in cases]

"""A pool of engines on real Ray: the engines are fake, everything around them is what a run has."""

import json
import os
import subprocess
import sys

from tests.integration.runs import PROJECT

POOL = """
import asyncio, json, sys, tempfile
from pathlib import Path
import ray
from factory.config import VllmEngine
from factory.inference import model_files
from factory.inference.engines import vllm_replica
from factory.inference.engines.vllm import VllmBackend
from factory.runtime import ray_session

class FakeEngine:
    # It works on until three replicas are up: how long Ray takes to start one is not what is tested.
    def __init__(self, *settings):
        self.up = up
        Path(up, ray.get_runtime_context().get_actor_id()).touch()

    async def __call__(self, batch):
        await asyncio.sleep(0.3)
        while len(list(Path(self.up).iterdir())) < 3:
            await asyncio.sleep(0.1)
        yield {**batch, "engine": [ray.get_runtime_context().get_actor_id()]}

vllm_replica.VllmReplica = FakeEngine
ray_session.start_ray(local_cpus=5)
for sequences, shard_rows, shards in json.loads(sys.argv[1]):
    up = tempfile.mkdtemp()
    engine = VllmEngine(model="embedded", device="cpu", replicas=[1, 3], engine_kwargs={"max_num_seqs": sequences})
    work = ray_session.dataset_of([{"shard": str(number)} for number in range(shards)])
    rows = VllmBackend(engine).answer(work, model_files.locate("embedded"), 0, shard_rows).take_all()
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

"""Engines on nodes with GPUs: the GPUs are only declared, and everything else is Ray's own."""

import asyncio
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest
import ray

from factory.config import ServedModel, VllmEngine
from factory.errors import ConfigError
from factory.inference.engine_pool.pool import EnginePool
from factory.inference.engines.backend import Replica
from factory.inference.engines.vllm import VllmBackend
from factory.inference.model_files import Located
from factory.records import Completion, Message, Request
from factory.runtime import loopback, ray_head, ray_session
from factory.runtime.capacity import ACCELERATOR
from factory.serving.deployment import _deployment, _llm_config

FREE = {"RAY_AUTH_MODE": "disabled"}
SMALL = ["--object-store-memory=100000000", "--dashboard-agent-listen-port=0", "--disable-usage-stats"]
H100S = ["--num-cpus=16", "--num-gpus=8", f"--labels={ACCELERATOR}=H100"]
L4 = ["--port=0", "--num-cpus=16", "--num-gpus=1", f"--labels={ACCELERATOR}=L4", "--include-dashboard=false"]


@pytest.fixture(scope="module")
def gpu_nodes() -> Iterator[None]:
    """Join a cluster of a node with an L4 and a node with eight H100s."""
    head = ray_head.start([*L4, "--object-store-memory=100000000"], FREE)
    command = [sys.executable, "-m", "factory.runtime.loopback", "start", "--block", "--node-ip-address=127.0.0.1"]
    command += [f"--address={head.address}", f"--temp-dir={head.folder}/worker", *SMALL, *H100S]
    environment = os.environ | FREE | loopback.ENVIRONMENT
    node = subprocess.Popen(command, env=environment, start_new_session=True, stdout=subprocess.DEVNULL)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**FREE, **loopback.ENVIRONMENT, "RAY_ADDRESS": head.address}.items():
            patch.setenv(name, value)
        ray_session.start_ray()
        deadline = time.monotonic() + 100
        while sum(node["Alive"] for node in ray.nodes()) < 2:
            assert time.monotonic() < deadline
            time.sleep(0.2)
        yield
        ray.shutdown()
    node.terminate()
    node.wait(30)
    ray_head.end(head)
    shutil.rmtree(head.folder, ignore_errors=True)


def engine(**settings: object) -> VllmEngine:
    return VllmEngine(model="embedded", device="gpu", **settings)


class FakeEngine(Replica):
    """Replies with the kind of GPU of its node."""

    async def complete(self, request: Request) -> Completion:
        return Completion((ray.get_runtime_context().get_node_labels()[ACCELERATOR],))


async def kinds_of_gpu(settings: VllmEngine, replicas: int) -> list[str]:
    """Start replicas as a run does, and return the kinds of GPU that they have at the same time."""
    backend = VllmBackend(settings)
    backend.check_room()
    pool_settings = replace(backend.pool_settings(Located("embedded", "1"), 0), start=FakeEngine)
    tasks = set()
    pool = EnginePool(pool_settings, lambda work: tasks.add(asyncio.create_task(work)))
    for _ in range(replicas):
        pool.start()
    while len(pool.up) < replicas:
        await asyncio.sleep(0.1)
    asked = [replica.handle.answer.remote(Request((Message("user", "?"),))) for replica in pool.up.values()]
    replies = [(await reply).replies[0] for reply in asked]
    await pool.close()
    return replies


@pytest.mark.parametrize("kind", ["H100", "L4"])
def test_replicas_run_where_their_kind_of_gpu_is(gpu_nodes, kind):
    settings = engine(accelerator_type=kind)
    assert asyncio.run(asyncio.wait_for(kinds_of_gpu(settings, 1), 60)) == [kind]


def test_a_replica_takes_all_its_gpus_of_one_node(gpu_nodes):
    settings = engine(engine_kwargs={"tensor_parallel_size": 4})
    assert asyncio.run(asyncio.wait_for(kinds_of_gpu(settings, 2), 60)) == ["H100", "H100"]


BEYOND = "and no node type that could be added has more; lower it, or set RAY_ADDRESS to a larger cluster"


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        (
            {"engine_kwargs": {"tensor_parallel_size": 16}},
            "engine.engine_kwargs (tensor_parallel_size 16) needs 16 CPU and 16 GPU on one node, the cluster can "
            f"provide at most 16 CPU and 8 GPU there; {BEYOND}",
        ),
        (
            {"engine_kwargs": {"tensor_parallel_size": 8}, "accelerator_type": "L4"},
            "engine.engine_kwargs (tensor_parallel_size 8) needs 8 CPU and 8 GPU on one node with accelerator_type L4, "
            f"the cluster can provide at most 16 CPU and 1 GPU there; {BEYOND}",
        ),
        (
            {"replicas": (2, 2), "accelerator_type": "L4"},
            f"engine.replicas needs 2 GPU with accelerator_type L4, the cluster can provide 1; {BEYOND}",
        ),
        (
            {"accelerator_type": "H200"},
            f"engine.accelerator_type 'H200': no node of the cluster has this label `{ACCELERATOR}`, nor has a node "
            "type that could be added; its nodes have H100, L4",
        ),
    ],
)
def test_what_no_node_can_hold_is_one_line_before_anything_starts(gpu_nodes, settings, line):
    with pytest.raises(ConfigError) as refused:
        VllmBackend(engine(**settings)).check_room()
    assert str(refused.value) == line


def test_judges_ask_for_their_kind_of_gpu_for_each_bundle(gpu_nodes):
    judge = ServedModel(
        name="a", model="embedded", device="gpu", accelerator_type="H100", engine_kwargs={"tensor_parallel_size": 2}
    )
    config = _llm_config(judge, 1)
    assert config.engine_kwargs["generation_config"] == "vllm", (
        "requests that leave a parameter out get the neutral one"
    )
    asked = _deployment(config, judge)._bound_deployment._replica_config
    assert json.loads(json.dumps(asked.placement_group_bundles)) == [{"GPU": 1, "CPU": 0}] * 2
    assert asked.placement_group_bundle_label_selector == [{ACCELERATOR: "H100"}] * 2

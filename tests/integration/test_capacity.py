"""Requests that a cluster can never satisfy fail at once; nodes that its autoscaler can add are waited for."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from factory.cluster import local_cluster
from factory.runtime import ray_head
from factory.runtime.capacity import ACCELERATOR, Bundle, find_shortage
from tests.integration.runs import PROJECT

CHECK = """
import json, sys
from factory import errors
from factory.runtime import capacity, ray_session
ray_session.start_ray()
for bundles, labels in json.loads(sys.argv[1]):
    try:
        needed = [capacity.Bundle(resources, labels) for resources in bundles]
        capacity.check_capacity(needed, "training.num_workers")
        print("it fits")
    except errors.ConfigError as problem:
        print(problem)
"""


NEXT_TO_ENGINE = """
import ray
from factory.runtime import capacity, ray_session
ray_session.start_ray()

@ray.remote(num_cpus=2 - capacity.IO_TASK.resources["CPU"])
class Engine:
    def is_up(self):
        return True

engine = Engine.remote()
assert ray.get(engine.is_up.remote())
print(sorted(row["shard"] for row in ray_session.dataset_of([{"shard": name} for name in "abc"]).iter_rows()))
"""


def node(pool: str | None = None, gpu: str | None = None, **resources: float) -> dict:
    labels = {"pool": pool, ACCELERATOR: gpu}
    return {"Resources": resources, "Labels": {name: value for name, value in labels.items() if value}}


@pytest.mark.parametrize(
    ("bundles", "labels", "found"),
    [
        ([{"CPU": 1, "GPU": 8}], {}, None),
        ([{"GPU": 8}, {"GPU": 4}], {}, None),
        ([{"GPU": 9}], {}, ("9 GPU on one node", "at most 8 GPU there")),
        ([{"GPU": 4}] * 4, {}, ("16 GPU", "12")),
        ([{"GPU": 8}], {"pool": "judges"}, ("8 GPU on one node with pool judges", "at most 4 GPU there")),
        ([{"GPU": 4}], {"pool": "judges"}, None),
        ([{"GPU": 1}], {"pool": "nobody"}, ("1 GPU on one node with pool nobody", "at most nothing there")),
        ([{"CPU": 0, "GPU": 1}], {"pool": "judges"}, None),
        ([{"TPU": 1}], {}, ("1 TPU on one node", "at most nothing there")),
        ([{"GPU": 8}], {ACCELERATOR: "H100"}, None),
        ([{"GPU": 8}], {ACCELERATOR: "L40S"}, ("8 GPU on one node with accelerator_type L40S", "at most 4 GPU there")),
        ([{"GPU": 4}] * 3, {ACCELERATOR: "H100"}, ("12 GPU with accelerator_type H100", "8")),
    ],
)
def test_find_shortage(bundles, labels, found):
    nodes = [node(CPU=2), node("synthesis", "H100", CPU=8, GPU=8), node("judges", "L40S", CPU=4, GPU=4)]
    assert find_shortage([Bundle(resources, labels) for resources in bundles], nodes) == found


def test_a_bundle_without_labels_may_be_on_any_node():
    nodes = [node(CPU=1), node(gpu="H100", GPU=2)]
    labeled = Bundle({"GPU": 2}, {ACCELERATOR: "H100"})
    assert find_shortage([labeled, Bundle({"CPU": 1})], nodes) is None
    assert find_shortage([labeled, Bundle({"CPU": 1}), Bundle({"GPU": 1})], nodes) == ("3 GPU", "2")


def run_checks(environment: dict[str, str], cases: list[tuple[list[dict], dict]]) -> list[str]:
    """Return the result of each case, from a process that joins a cluster."""
    command = [sys.executable, "-c", CHECK, json.dumps(cases)]
    process = subprocess.run(
        command, cwd=PROJECT, env=os.environ | environment, capture_output=True, text=True, check=True, timeout=200
    )
    return process.stdout.splitlines()


def test_fixed_cluster_reports_its_resources(shared_ray):
    fits, no_pool, too_large, too_many = run_checks(
        shared_ray,
        [([{"CPU": 1}] * 2, {}), ([{"CPU": 1}], {"pool": "trainig"}), ([{"CPU": 3}], {}), ([{"CPU": 1}] * 3, {})],
    )
    assert fits == "it fits"
    assert no_pool == (
        "training.pool 'trainig': no node of the cluster has this label `pool`, nor has a node type that "
        "could be added; none of its nodes has a label `pool`"
    )
    remedy = "and no node type that could be added has more; lower it, or set RAY_ADDRESS to a larger cluster"
    assert too_large == (
        f"training.num_workers needs 3 CPU on one node, the cluster can provide at most 2 CPU there; {remedy}"
    )
    assert too_many == f"training.num_workers needs 3 CPU, the cluster can provide 2; {remedy}"


def test_io_tasks_run_next_to_engines(shared_ray):
    command = [sys.executable, "-c", NEXT_TO_ENGINE]
    process = subprocess.run(
        command, cwd=PROJECT, env=os.environ | shared_ray, capture_output=True, text=True, check=True, timeout=100
    )
    assert process.stdout.strip() == "['a', 'b', 'c']"


@pytest.mark.slow
def test_autoscaler_can_add_nodes(tmp_path):
    """Two nodes of two CPUs each and a pool of one node can be added; there is none at first."""
    file = tmp_path / "cluster.yaml"
    kinds = {"small": {"max_workers": 2, "resources": {"CPU": 2}}, "large": {"max_workers": 1, "resources": {"CPU": 3}}}
    limits = {"max_workers": 3, "idle_timeout_minutes": 5, "upscaling_speed": 10}
    file.write_text(yaml.safe_dump({**limits, "available_node_types": kinds}))
    folder, gcs = ray_head.new_folder(), ray_head.free_port()
    autoscaling = local_cluster.autoscaling_config(local_cluster.read(file), f"127.0.0.1:{gcs}", folder)
    autoscaling["available_node_types"]["large"]["labels"] = {"pool": "training", ACCELERATOR: "H100"}
    Path(folder, "autoscaling.yaml").write_text(yaml.safe_dump(autoscaling))
    free = {"RAY_AUTH_MODE": "disabled"}
    own = {"RAY_enable_autoscaler_v2": "1", "AUTOSCALER_UPDATE_INTERVAL_S": "1"}
    own |= {"RAY_CLOUD_INSTANCE_ID": "head", "RAY_NODE_TYPE_NAME": local_cluster.HEAD_TYPE}
    options = [
        f"--port={gcs}",
        "--num-cpus=0",
        "--include-dashboard=false",
        f"--autoscaling-config={folder}/autoscaling.yaml",
    ]
    head = ray_head.start(options, free | own, folder)
    cases = [
        ([{"CPU": 1}] * 4, {}),
        ([{"CPU": 3}], {"pool": "training"}),
        ([{"CPU": 1}], {"pool": "trainig"}),
        ([{"CPU": 4}], {}),
        ([{"CPU": 1}] * 8, {}),
        ([{"CPU": 3}], {ACCELERATOR: "H100"}),
        ([{"CPU": 3}], {ACCELERATOR: "H200"}),
    ]
    try:
        results = run_checks(free | {"RAY_ADDRESS": head.address}, cases)
    finally:
        ray_head.end(head)
        shutil.rmtree(folder, ignore_errors=True)
    assert results[:2] == ["it fits", "it fits"]
    assert results[2].startswith("training.pool 'trainig': no node of the cluster has this label")
    assert results[3].startswith("training.num_workers needs 4 CPU on one node, the cluster can provide at most ")
    assert results[4].startswith("training.num_workers needs 8 CPU, the cluster can provide ")
    assert results[5] == "it fits"
    assert results[6].startswith("training.accelerator_type 'H200': no node of the cluster has this label")

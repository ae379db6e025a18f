"""What a fleet's routers remember of prompts is on Ray's head and ends with the fleet; no model is loaded for it."""

import json
import subprocess
import sys

from tests.integration.runs import PROJECT

FLEET = """
import json
import ray
from ray import serve
from factory.config import Fleet, ServedModel
from factory.runtime import ray_session
from factory.runtime.progress import Progress
from factory.serving import fleet
from factory.serving.deployment import deployment_name
from factory.serving.prefix_trees import NAME


@serve.deployment
class Instant:
    def __call__(self):
        return "here"


def node_of_tree(judge):
    try:
        actor = ray.get_actor(NAME, namespace=f"serve::{fleet.APP}::{deployment_name(judge)}")
    except ValueError:
        return None
    return ray._private.state.actors(actor._actor_id.hex())["Address"]["NodeID"]


fleet.application = lambda *_: Instant.bind()
served = {"model": "embedded", "device": "cpu", "max_concurrency": 8}
judges = [ServedModel(name=name, **served) for name in ("a", "b")]
ray_session.start_ray(local_cpus=6)
head = [node["NodeID"] for node in ray.nodes() if "node:__internal_head__" in node["Resources"]]
fleet.bring_up(Fleet(port=0), judges, Progress())
up = [node_of_tree(judge) for judge in judges]
fleet.take_down(fleet.APP)
print(json.dumps({"head": head, "up": up, "after": [node_of_tree(judge) for judge in judges]}))
"""


def test_prefix_trees_of_each_judge_are_on_the_head_and_end_with_the_fleet():
    done = subprocess.run(
        [sys.executable, "-c", FLEET], cwd=PROJECT, capture_output=True, text=True, check=False, timeout=240
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(next(line for line in done.stdout.splitlines() if line.startswith('{"head"')))
    assert found["up"] == found["head"] * 2
    assert found["after"] == [None, None]

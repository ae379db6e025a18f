"""Several judges behind several ingresses of the fleet, with real Serve and engines that answer at once."""

import json
import os
import subprocess
import sys

import pytest

from factory.config import Evaluation, Fleet, RunConfig, ServedModel
from factory.evaluation.judge_clients import open_judges
from factory.inference.engines.endpoint_reply import ENDING_TOKENS
from factory.serving.deployment import ingresses, prefix_router
from factory.serving.fleet import cpus_of, other_proxies
from tests.integration.runs import PROJECT

FLEET = """
import asyncio, json
from collections import Counter
import openai
from pydantic import SecretStr
from ray import serve
import factory.serving.llm_server
from factory.config import Evaluation, Fleet, RunConfig, ServedModel
from factory.evaluation.judge_clients import open_judges
from factory.inference.engines.openai import OpenAIReplica
from factory.records import Message, Request
from factory.runtime import ray_session
from factory.runtime.progress import Progress
from factory.serving.fleet import RUNS_APP, fleet_for_run
from tests.integration.instant_engine import InstantServer

factory.serving.llm_server.ModelServer = InstantServer
RUBRICS = {name: " ".join([name] * 200) for name in ("harm", "habit")}
served = {"model": "embedded", "device": "cpu", "max_concurrency": 8}
judges = ServedModel(name="a", replicas=(2, 2), **served), ServedModel(name="b", **served)
ray_session.start_ray(local_cpus=6)


def said_by(judge, prompts, at_once):
    async def ask():
        client = OpenAIReplica(judge.config, SecretStr("none"), at_once)
        asked = [Request((Message("user", prompt),)) for prompt in prompts]
        return [json.loads(done.replies[0])["reasoning"] for done in await asyncio.gather(*map(client.complete, asked))]
    return asyncio.run(ask())


with fleet_for_run(Fleet(port=0, ingresses=2), judges, Progress()) as url:
    a, b = open_judges(RunConfig.model_construct(evaluation=Evaluation(judges=judges)), url)
    states = {name: states.replica_states for name, states in serve.status().applications[RUNS_APP].deployments.items()}
    alternating = [f"{RUBRICS[name]} answer {n}" for n in range(8) for name in RUBRICS]
    chat = openai.OpenAI(base_url=url, api_key="none").chat.completions
    hello = [{"role": "user", "content": "Hello."}]
    reply = chat.create(model=a.config.model, messages=hello, logprobs=True, top_logprobs=20).choices[0]
    print(json.dumps({
        "logprobs": len(reply.logprobs.content),
        "running": {name: states["RUNNING"] for name, states in states.items()},
        "alternating": said_by(a, alternating, 1),
        "busy": Counter(said_by(a, [f"{RUBRICS['harm']} busy {n}" for n in range(64)], 16)),
        "of b": Counter(said_by(b, alternating, 16)),
    }))
"""


@pytest.mark.slow  # six processes that each import vLLM
@pytest.mark.timeout(400)
def test_two_judges_behind_two_ingresses(tmp_path):
    environment = os.environ | {"INSTANT_ENGINE_DELAY_S": "0.05"}
    done = subprocess.run(
        [sys.executable, "-c", FLEET], cwd=PROJECT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(next(line for line in done.stdout.splitlines() if line.startswith('{"logprobs"')))
    assert found["logprobs"] == ENDING_TOKENS
    assert sorted(found["running"].values()) == [1, 2, 2]  # a judge, the other one, the ingresses
    # Each rubric stays with one replica, whichever ingress a request comes through.
    harm, habit = set(found["alternating"][::2]), set(found["alternating"][1::2])
    assert len(harm) == len(habit) == 1
    assert harm != habit
    # One rubric for all: when its replica has more to do than the other, the other gets its share.
    assert len(found["busy"]) == 2
    assert min(found["busy"].values()) >= 16
    (only,) = found["of b"]
    assert only not in harm | habit


def judge(name: str, most: int, concurrency: int = 64) -> ServedModel:
    return ServedModel(name=name, model="embedded", device="gpu", replicas=(1, most), max_concurrency=concurrency)


@pytest.mark.parametrize(("replicas", "expected"), [((1,), 1), ((4,), 1), ((4, 1), 2), ((64, 64), 32)])
def test_ingresses_follow_the_replicas_of_all_judges(replicas, expected):
    judges = [judge(str(number), most) for number, most in enumerate(replicas)]
    assert ingresses(Fleet(), judges) == expected
    assert cpus_of(Fleet(), judges) == expected / 2  # the models are on GPUs
    assert ingresses(Fleet(ingresses=3), judges) == 3
    assert cpus_of(Fleet(ingresses=3), []) == 0


@pytest.mark.parametrize(("concurrency", "threshold"), [(1, 1), (64, 8), (512, 64)])
def test_a_replica_gets_a_known_prefix_until_it_is_busier_than_another(concurrency, threshold):
    router = prefix_router(judge("a", 2, concurrency))
    assert router["imbalanced_threshold"] == threshold
    assert router["eviction_target_chars"] < router["eviction_threshold_chars"]
    assert router["do_eviction"]


def test_clients_of_a_fleet_on_the_network_take_turns_with_its_proxies(monkeypatch):
    """A node of the cluster is not yet ready, and another one has no proxy."""
    nodes = [{"NodeID": str(n), "NodeManagerAddress": f"10.0.0.{n}"} for n in range(4)]
    proxies = {"0": "HEALTHY", "1": "HEALTHY", "2": "STARTING"}
    monkeypatch.setattr("ray.is_initialized", lambda: True)
    monkeypatch.setattr("ray.nodes", lambda: nodes)
    monkeypatch.setattr("ray.serve.status", lambda: type("Status", (), {"proxies": proxies}))
    network = Fleet(host="0.0.0.0", port=8800)
    assert other_proxies(network, "http://10.0.0.0:8800/v1") == ("http://10.0.0.1:8800/v1",)
    assert other_proxies(Fleet(), "http://127.0.0.1:8800/v1") == ()
    config = RunConfig.model_construct(evaluation=Evaluation(judges=(judge("a", 1),), fleet=network))
    (client,) = open_judges(config, "http://10.0.0.1:8800/v1")
    assert client.config.other_urls == ("http://10.0.0.0:8800/v1",)

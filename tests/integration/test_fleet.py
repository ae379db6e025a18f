"""The fleet for real: judges of the embedded model on Ray Serve, killed, left standing, and behind a key."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import psutil
import pytest

from factory.config import Fleet
from factory.errors import ConfigError
from factory.personagym import TASKS
from factory.runtime.ray_head import free_port
from factory.serving.fleet import running
from tests.integration.runs import PROJECT

KEY = "a-key-of-these-tests"
GONE_S = 5
"""After as long Ray has seen that a killed driver is gone."""
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]  # a fleet takes minutes to load on two cores


def settings(port: int, personas: int, **more: object) -> dict:
    judge = {"name": "judge", "model": "embedded", "device": "cpu", "engine_kwargs": {"max_model_len": 4096}, **more}
    return {
        "evaluation": {
            "protocol": "light",
            "limit": personas,
            "general": False,
            "candidates": [{"name": "one", "kind": "scripted", "default": "I mend nets, and I mind my own business."}],
            "judges": [judge],
            "sampling": {"max_tokens": 64},
            "example_sampling": {"top_p": 1.0, "max_tokens": 384},
            "judge_sampling": {"max_tokens": 128},
            "fleet": {"port": port},
        }
    }


def judged(run) -> list[dict]:
    return run.rows("evaluation/one/judgments/judge")


def listens(port: int) -> bool:
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


def test_a_fleet_comes_up_judges_through_a_killed_engine_and_goes_away(make_run):
    port = free_port()
    run = make_run("shaken", **settings(port, personas=3)).alone()
    process = run.start(job="evaluate")
    deadline = time.monotonic() + 400
    while not run.table("evaluation/benchmark/examples/judge").manifest():
        assert process.poll() is None, run.log()
        assert time.monotonic() < deadline, run.log()
        time.sleep(0.5)
    time.sleep(2)  # the judgments are in flight
    assert listens(port)
    with pytest.raises(ConfigError, match="another run's fleet"):  # what a second run on this machine is told
        running(Fleet(port=port), [])
    engines = [p for p in psutil.Process(process.pid).children(recursive=True) if "EngineCore" in p.name()]
    engines[0].kill()
    assert process.wait(500) == 0, run.log()
    asked = sorted(row["question_id"] for row in run.rows("evaluation/benchmark/questions"))
    assert sorted(row["question_id"] for row in judged(run)) == asked
    assert len(asked) == 3 * len(TASKS)
    scored = [row for row in judged(run) if row["status"] == "ok"]
    assert scored
    assert all(row["score"] in range(1, 6) and 1 <= row["expected_score"] <= 5 for row in scored)
    assert {row["reason"] for row in judged(run)} <= {None, "judge_failed"}
    assert not listens(port)


def test_a_standing_fleet_wants_its_key_serves_runs_and_ends_with_all_that_it_started(make_run, tmp_path):
    port = free_port()
    run = make_run("standing", **settings(port, personas=1)).alone()
    # The models stay where they are; the note of the head does not.
    cache = Path(os.environ.get("FACTORY_CACHE", Path.home() / ".cache" / "character-factory"))
    for model in cache.glob("smollm2-*"):
        (tmp_path / "cache").mkdir(exist_ok=True)
        (tmp_path / "cache" / model.name).symlink_to(model)
    run.environment |= {"JUDGES_API_KEY": KEY, "FACTORY_CACHE": str(tmp_path / "cache")}
    said = run.finish(job="judges_up", timeout=500)
    assert f"http://127.0.0.1:{port}/v1" in said
    head = json.loads((tmp_path / "cache" / "judges-head.json").read_text())
    family = [psutil.Process(head["pid"]), *psutil.Process(head["pid"]).children(recursive=True)]
    try:
        with pytest.raises(urllib.error.HTTPError, match="401"):
            urllib.request.urlopen(f"http://127.0.0.1:{port}/v1/models")
        said = run.finish(job="evaluate", timeout=500)
        assert "using the fleet" in said
        assert len(judged(run)) == len(TASKS)
        assert listens(port)
        assert KEY not in said
        assert "already" in refused(run)
    finally:
        down = subprocess.run(
            [sys.executable, PROJECT / "jobs" / "judges_down.py"],
            env=os.environ | run.environment, capture_output=True, text=True, check=False, timeout=120,
        )  # fmt: skip
    assert down.returncode == 0, down.stderr
    assert not listens(port)
    assert [p.name() for p in family if p.is_running() and p.status() != psutil.STATUS_ZOMBIE] == []


@pytest.mark.timeout(2400)  # three fleets load, and 35 prompts of 1,500 tokens are judged twice
def test_a_killed_replica_and_a_killed_driver_leave_the_judgments_of_an_undisturbed_run(make_run):
    """On a cluster, where Serve outlives the driver: the next run takes the fleet over, and ends it."""
    port = free_port()
    calm = make_run("calm", **settings(port, personas=7))
    # Half a shard at a time: with all in flight the shards would end together, and leave nothing to kill.
    shaken = make_run("shaken", **settings(port, personas=7, max_concurrency=8))
    for run in (calm, shaken):
        run.config["evaluation"]["attempts"] = 1  # another attempt would be drawn at random
    calm.finish(job="evaluate", timeout=900)
    # The same questions, answers and examples: those are drawn at random.
    for name in ("benchmark", "one/answers"):
        shutil.copytree(f"{calm.output}/evaluation/{name}", f"{shaken.output}/evaluation/{name}")
    written = shaken.table("evaluation/one/judgments/judge").shards
    shaken.kill_when(lambda: listens(port), job="evaluate")  # the door is there, perhaps with no judge behind it
    time.sleep(GONE_S)
    process = shaken.start_until(written, job="evaluate")
    replicas = [p for p in psutil.Process().children(recursive=True) if "ServeReplica" in " ".join(p.cmdline())]
    replicas[0].kill()
    first = len(written())
    deadline = time.monotonic() + 400
    while len(written()) == first:
        assert process.poll() is None, shaken.log()
        assert time.monotonic() < deadline, shaken.log()
        time.sleep(0.1)
    before = judged(shaken)
    process.kill()
    process.wait()
    time.sleep(GONE_S)
    assert listens(port)
    assert "using the fleet that a killed run left" in shaken.finish(job="evaluate", timeout=600)
    assert not listens(port)
    was, now = ({row["question_id"]: row for row in judged(run)} for run in (calm, shaken))
    assert len(before) < len(judged(shaken)) == len(now)
    assert now.keys() == was.keys()
    assert all(now[row["question_id"]] == row for row in before)
    assert {row["reason"] for row in now.values()} <= {None, "judge_failed"}
    # The word of each judge, about its own question: but a token's probability differs in its last digits with what
    # else is in a batch, and where two are as likely, the rest of the reply differs.
    scored = [id for id in now if now[id]["score"] and was[id]["score"]]
    same = [id for id in scored if now[id]["reasoning"] == was[id]["reasoning"]]
    assert len(same) > len(scored) / 2


def refused(run) -> str:
    assert run.start(job="judges_up").wait(120) == 2
    return run.log()

"""The cluster of this machine: workers come with a job and go again, and a job is stopped."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from factory.runtime.ray_head import Head, free_port
from factory.storage.tables import Table
from tests.integration.runs import GOOD_PROFILE, PROJECT

pytestmark = pytest.mark.slow

PERSONAS = 600


class Cluster:
    """The commands of cluster/, with a cache, a token and a port of their own."""

    def __init__(self, folder: Path) -> None:
        token = folder / "token"
        token.write_text("a-token-of-this-test")
        self.folder = folder
        clean = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
        own = {"FACTORY_CACHE": str(folder / "cache"), "RAY_AUTH_TOKEN_PATH": str(token), "RAY_AUTH_MODE": "token"}
        self.environment = {**clean, **own}

    def start(self, script: str, *arguments: str) -> subprocess.Popen:
        command = [sys.executable, PROJECT / "cluster" / script, *arguments]
        streams = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        return subprocess.Popen(command, cwd=self.folder, env=self.environment, **streams)

    def do(self, script: str, *arguments: str, status: int = 0) -> str:
        process = self.start(script, *arguments)
        said, _ = process.communicate(timeout=300)
        assert process.returncode == status, said
        return said

    def head(self) -> Head:
        return Head(**json.loads((self.folder / "cache" / "cluster-head.json").read_text()))


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    made = Cluster(tmp_path_factory.mktemp("cluster"))
    made.do("local.py", "up", f"--port={free_port()}")
    yield made
    if (made.folder / "cache" / "cluster-head.json").exists():
        made.do("local.py", "down")


def submitted(cluster: Cluster, name: str, delay_s: float) -> list[str]:
    source = cluster.folder / f"{name}.jsonl"
    source.write_text("".join(json.dumps({"persona": f"a baker, number {n}"}) + "\n" for n in range(PERSONAS)))
    config = cluster.folder / f"{name}.yaml"
    engine = {"kind": "scripted", "default": json.dumps(GOOD_PROFILE), "delay_s": delay_s}
    config.write_text(json.dumps({"output": name, "engine": engine, "personas": {"source": str(source)}}))
    return ["submit", "synthesize", "--config", str(config)]


def workers(cluster: Cluster) -> int:
    return int(cluster.do("local.py", "status").splitlines()[1].split()[0])


def test_workers_come_with_a_job_and_go_when_it_is_done(cluster):
    assert workers(cluster) == 0
    said = cluster.do("job.py", *submitted(cluster, "whole", 2))
    assert "rows accepted. Output: " in said
    assert Table(str(cluster.folder / "whole"), "profiles").manifest()["ok"] == PERSONAS
    assert workers(cluster) >= 2
    deadline = time.monotonic() + 150
    while workers(cluster):
        assert time.monotonic() < deadline
        time.sleep(5)
    shown = cluster.do("local.py", "status")
    assert "SUCCEEDED" in shown
    assert "there" not in shown.split("Jobs:")[0].partition("went")[2]


def test_a_job_that_is_asked_to_stop_writes_what_is_in_flight_and_the_next_goes_on(cluster):
    following = cluster.start("job.py", *submitted(cluster, "stopped", 2))
    table = Table(str(cluster.folder / "stopped"), "profiles")
    deadline = time.monotonic() + 150
    while not table.shards():
        assert time.monotonic() < deadline
        assert following.poll() is None
        time.sleep(0.2)
    job = next(line.split()[0] for line in cluster.do("local.py", "status").splitlines() if "RUNNING" in line)
    assert "was asked to stop" in cluster.do("job.py", "stop", job)
    said, _ = following.communicate(timeout=150)
    assert following.returncode == 1
    assert "stopped: " in said
    assert table.manifest() is None
    assert "has ended already" in cluster.do("job.py", "stop", job)
    assert "resuming, " in cluster.do("job.py", *submitted(cluster, "stopped", 0))
    assert table.manifest()["ok"] == PERSONAS


def test_what_is_wrong_is_one_line(cluster):
    assert "one is up already" in cluster.do("local.py", "up", status=2)
    assert "knows no such job" in cluster.do("job.py", "logs", "nobody", status=2)
    wrong = submitted(cluster, "wrong", 0)
    assert "/nowhere.jsonl" in cluster.do("job.py", *wrong, "personas.source=/nowhere.jsonl", status=2)


def test_down_ends_all_that_up_started(cluster):
    head = cluster.head()
    family = [psutil.Process(head.pid), *psutil.Process(head.pid).children(recursive=True)]
    assert "is ended, with all its workers" in cluster.do("local.py", "down")
    _, left = psutil.wait_procs(family, timeout=10)
    assert not left
    assert not [one for one in psutil.process_iter(["cmdline"]) if head.folder in " ".join(one.info["cmdline"] or ())]
    assert "none was started from here" in cluster.do("local.py", "status", status=2)

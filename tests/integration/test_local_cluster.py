"""The local cluster: workers start with a job and end after it, and a job is stopped."""

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
    """The commands of cluster/, with their own cache, token and port."""

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

    def run(self, script: str, *arguments: str, status: int = 0) -> str:
        process = self.start(script, *arguments)
        output, _ = process.communicate(timeout=300)
        assert process.returncode == status, output
        return output

    def head(self) -> Head:
        return Head(**json.loads((self.folder / "cache" / "cluster-head.json").read_text()))


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    started = Cluster(tmp_path_factory.mktemp("cluster"))
    started.run("local.py", "up", f"--port={free_port()}")
    yield started
    if (started.folder / "cache" / "cluster-head.json").exists():
        started.run("local.py", "down")


def submission(cluster: Cluster, name: str, delay_s: float) -> list[str]:
    source = cluster.folder / f"{name}.jsonl"
    source.write_text("".join(json.dumps({"persona": f"a baker, number {n}"}) + "\n" for n in range(PERSONAS)))
    config = cluster.folder / f"{name}.yaml"
    engine = {"kind": "scripted", "default": json.dumps(GOOD_PROFILE), "delay_s": delay_s}
    config.write_text(json.dumps({"output": name, "engine": engine, "personas": {"source": str(source)}}))
    return ["submit", "synthesize", "--config", str(config)]


def workers(cluster: Cluster) -> int:
    return int(cluster.run("local.py", "status").splitlines()[1].split()[0])


def test_workers_start_with_a_job_and_end_after_it(cluster):
    assert workers(cluster) == 0
    output = cluster.run("job.py", *submission(cluster, "whole", 2))
    assert "rows accepted. Output: " in output
    assert Table(str(cluster.folder / "whole"), "profiles").manifest()["ok"] == PERSONAS
    assert workers(cluster) >= 2
    deadline = time.monotonic() + 150
    while workers(cluster):
        assert time.monotonic() < deadline
        time.sleep(5)
    status = cluster.run("local.py", "status")
    assert "SUCCEEDED" in status
    assert "running" not in status.split("Jobs:")[0].partition("end")[2]


def test_stopped_job_writes_its_work_and_is_resumed(cluster):
    following = cluster.start("job.py", *submission(cluster, "stopped", 2))
    table = Table(str(cluster.folder / "stopped"), "profiles")
    deadline = time.monotonic() + 150
    while not table.shards():
        assert time.monotonic() < deadline
        assert following.poll() is None
        time.sleep(0.2)
    job = next(line.split()[0] for line in cluster.run("local.py", "status").splitlines() if "RUNNING" in line)
    assert "is stopping" in cluster.run("job.py", "stop", job)
    output, _ = following.communicate(timeout=150)
    assert following.returncode == 1
    assert "stopped: " in output
    assert table.manifest() is None
    assert "has already ended" in cluster.run("job.py", "stop", job)
    assert "resuming, " in cluster.run("job.py", *submission(cluster, "stopped", 0))
    assert table.manifest()["ok"] == PERSONAS


def test_errors_are_one_line(cluster):
    assert "already running" in cluster.run("local.py", "up", status=2)
    assert "has no such job" in cluster.run("job.py", "logs", "nobody", status=2)
    wrong = submission(cluster, "wrong", 0)
    assert "/nowhere.jsonl" in cluster.run("job.py", *wrong, "personas.source=/nowhere.jsonl", status=2)


def test_down_stops_everything(cluster):
    head = cluster.head()
    family = [psutil.Process(head.pid), *psutil.Process(head.pid).children(recursive=True)]
    assert "and all its workers are stopped" in cluster.run("local.py", "down")
    _, left = psutil.wait_procs(family, timeout=10)
    assert not left
    assert not [p for p in psutil.process_iter(["cmdline"]) if head.folder in " ".join(p.info["cmdline"] or ())]
    assert "not running" in cluster.run("local.py", "status", status=2)

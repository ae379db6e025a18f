"""The job as `ray job submit` runs it, on a head of our own with Ray's token authentication on."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.runs import GOOD_PROFILE, PROJECT

RAY = Path(sys.executable).with_name("ray")
ENGINE = "engine=" + json.dumps({"kind": "scripted", "default": json.dumps(GOOD_PROFILE)})


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment in which `ray job submit` finds a fresh head."""
    port, dashboard = free_port(), free_port()
    folder = f"/tmp/rt{port}"  # socket paths have room for about 100 characters
    token = tmp_path_factory.mktemp("token") / "token"
    token.write_text("a-token-of-this-test")
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("RAY_")},
        "PATH": f"{RAY.parent}:{os.environ['PATH']}",  # `python` of a job is the one that its head finds
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(token),
        "RAY_ADDRESS": f"http://127.0.0.1:{dashboard}",
    }
    command = [RAY, "start", "--head", "--block", f"--port={port}", f"--dashboard-port={dashboard}"]
    command += ["--num-cpus=2", f"--temp-dir={folder}", "--object-store-memory=200000000", "--disable-usage-stats"]
    command += ["--dashboard-agent-listen-port=0"]  # by default a fixed one, which another Ray here may have
    log = (tmp_path_factory.mktemp("head") / "log.txt").open("w")
    starting = {name: value for name, value in environment.items() if name != "RAY_ADDRESS"}
    process = subprocess.Popen(command, env=starting, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
    try:
        wait_until_it_takes_jobs(environment)
        yield environment
    finally:
        process.terminate()  # it ends its own processes; told all at once, they wait for one another
        process.wait(60)
        subprocess.run(["rm", "-rf", folder], check=False)


def wait_until_it_takes_jobs(environment: dict[str, str]) -> None:
    """The port of a head opens before its agent is there: until then a submitted job is refused with status 500."""
    deadline = time.monotonic() + 180
    command = [RAY, "job", "submit", "--", "true"]
    while True:
        tried = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
        if tried.returncode == 0:
            return
        assert time.monotonic() < deadline, tried.stdout + tried.stderr
        time.sleep(1)


def submit(head: dict[str, str], *arguments: str) -> subprocess.CompletedProcess:
    command = [RAY, "job", "submit", "--working-dir", ".", "--", "python", "jobs/synthesize.py"]
    command += ["--config", "jobs/configs/demo.yaml", *arguments]
    return subprocess.run(command, cwd=PROJECT, env=head, capture_output=True, text=True, timeout=240, check=False)


def test_a_submitted_job_does_the_same_as_one_run_here(head, tmp_path):
    done = submit(head, ENGINE, "dialogues.strategies=[generate]", f"output={tmp_path}/run")
    assert done.returncode == 0, done.stdout + done.stderr
    manifest = json.loads((tmp_path / "run/profiles/manifest.json").read_text())
    assert (manifest["rows_in"], manifest["ok"]) == (32, 32)
    assert json.loads((tmp_path / "run/dialogues/generate-samples/manifest.json").read_text())["ok"] == 24
    assert "What was made" in done.stdout


def test_a_failing_job_makes_the_submitting_command_fail(head, tmp_path):
    done = submit(head, "personas.source=/nowhere.jsonl", f"output={tmp_path}/run")
    assert done.returncode == 1
    assert "/nowhere.jsonl" in done.stdout + done.stderr

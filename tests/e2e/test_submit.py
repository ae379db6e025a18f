"""The job as `ray job submit` runs it, on a head of our own with Ray's token authentication on."""

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from factory.runtime import ray_head
from tests.integration.runs import GOOD_PROFILE, PROJECT

ENGINE = "engine=" + json.dumps({"kind": "scripted", "default": json.dumps(GOOD_PROFILE)})


@pytest.fixture(scope="module")
def submitting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment in which `ray job submit` finds a fresh head."""
    token = tmp_path_factory.mktemp("token") / "token"
    token.write_text("a-token-of-this-test")
    bin_folder = Path(ray_head.ray_command()).parent
    told = {
        "PATH": f"{bin_folder}:{os.environ['PATH']}",  # `python` of a job is the one that its head finds
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(token),
    }
    dashboard = ray_head.free_port()
    options = ["--port=0", f"--dashboard-port={dashboard}", "--num-cpus=2", "--object-store-memory=200000000"]
    standing = ray_head.start(options, told)
    environment = {**os.environ, **told, "RAY_ADDRESS": f"http://127.0.0.1:{dashboard}"}
    try:
        wait_until_it_takes_jobs(environment)
        yield environment
    finally:
        ray_head.end(standing)
        shutil.rmtree(standing.folder, ignore_errors=True)


def wait_until_it_takes_jobs(environment: dict[str, str]) -> None:
    """The port of a head opens before its agent is there: until then a submitted job is refused with status 500."""
    deadline = time.monotonic() + 180
    command = [ray_head.ray_command(), "job", "submit", "--", "true"]
    while True:
        tried = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
        if tried.returncode == 0:
            return
        assert time.monotonic() < deadline, tried.stdout + tried.stderr
        time.sleep(1)


def submit(submitting: dict[str, str], *arguments: str) -> subprocess.CompletedProcess:
    command = [ray_head.ray_command(), "job", "submit", "--working-dir", ".", "--", "python", "jobs/synthesize.py"]
    command += ["--config", "jobs/configs/demo.yaml", *arguments]
    streams = {"capture_output": True, "text": True}
    return subprocess.run(command, cwd=PROJECT, env=submitting, timeout=240, check=False, **streams)


def test_a_submitted_job_does_the_same_as_one_run_here(submitting, tmp_path):
    done = submit(submitting, ENGINE, "dialogues.strategies=[generate]", f"output={tmp_path}/run")
    assert done.returncode == 0, done.stdout + done.stderr
    manifest = json.loads((tmp_path / "run/profiles/.manifest.json").read_text())
    assert (manifest["rows_in"], manifest["ok"]) == (32, 32)
    assert json.loads((tmp_path / "run/dialogues/generate-samples/.manifest.json").read_text())["ok"] == 24
    assert "rows accepted. Output: " in done.stdout


def test_a_failing_job_makes_the_submitting_command_fail(submitting, tmp_path):
    done = submit(submitting, "personas.source=/nowhere.jsonl", f"output={tmp_path}/run")
    assert done.returncode == 1
    assert "/nowhere.jsonl" in done.stdout + done.stderr

"""A job submitted by `ray job submit` to a head with token authentication."""

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
    """The environment in which `ray job submit` finds a new head."""
    token = tmp_path_factory.mktemp("token") / "token"
    token.write_text("a-token-of-this-test")
    bin_folder = Path(ray_head.ray_command()).parent
    settings = {
        "PATH": f"{bin_folder}:{os.environ['PATH']}",  # a job's `python` is found on the head's PATH
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(token),
    }
    dashboard = ray_head.free_port()
    options = ["--port=0", f"--dashboard-port={dashboard}", "--num-cpus=2", "--object-store-memory=200000000"]
    head = ray_head.start(options, settings)
    environment = {**os.environ, **settings, "RAY_ADDRESS": f"http://127.0.0.1:{dashboard}"}
    try:
        wait_until_ready(environment)
        yield environment
    finally:
        ray_head.end(head)
        shutil.rmtree(head.folder, ignore_errors=True)


def wait_until_ready(environment: dict[str, str]) -> None:
    """Wait until a job succeeds: before the head's agent is up, submissions fail with status 500."""
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


def test_submitted_job_equals_a_local_one(submitting, tmp_path):
    done = submit(submitting, ENGINE, "dialogues.strategies=[generate]", f"output={tmp_path}/run")
    assert done.returncode == 0, done.stdout + done.stderr
    manifest = json.loads((tmp_path / "run/profiles/.manifest.json").read_text())
    assert (manifest["rows_in"], manifest["ok"]) == (32 + 16, 32 + 16)
    assert json.loads((tmp_path / "run/dialogues/generate-samples/.manifest.json").read_text())["ok"] == 24
    assert "rows accepted. Output: " in done.stdout


def test_failed_job_fails_the_submit_command(submitting, tmp_path):
    done = submit(submitting, "personas.source=/nowhere.jsonl", f"output={tmp_path}/run")
    assert done.returncode == 1
    assert "/nowhere.jsonl" in done.stdout + done.stderr

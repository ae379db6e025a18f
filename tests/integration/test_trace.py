"""The trace command in a process of its own, on local disk and on S3."""

import json
import subprocess
import sys

import pytest

from factory.records import content_id
from factory.resources import RESOURCES
from tests.small_run import ADA, INSTRUCTION_TEXTS, character, dialogue, whole_run


@pytest.fixture(params=["disk", "s3"])
def job(request, tmp_path, s3):
    run = whole_run(str(tmp_path / "run") if request.param == "disk" else f"{s3}/trace")
    path = tmp_path / "run.json"
    path.write_text(run.config().model_dump_json())

    def job(*arguments: str) -> subprocess.CompletedProcess:
        command = [sys.executable, RESOURCES / "jobs/trace.py", "--config", path, *arguments]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    return job


def test_id_is_followed_on_disk_and_on_s3(job):
    done = job("--id", dialogue(ADA, INSTRUCTION_TEXTS[0])[:8], "--json")
    assert (done.returncode, done.stderr) == (0, "")
    steps = {step["table"]: step for step in json.loads(done.stdout)["steps"]}
    assert steps["personas"]["rows"][0]["persona"] == ADA
    assert steps["checkpoints"]["rows"][0]["status"] == "trained on"
    attribution = job("--explain", "Linguistic Habits", "--json")
    assert (attribution.returncode, attribution.stderr) == (0, "")
    nearest = json.loads(attribution.stdout)["worst"][0]["nearest"]
    assert dialogue(ADA, INSTRUCTION_TEXTS[0]) in [one["dialogue_id"] for one in nearest]


def test_unknown_id_is_one_line_and_status_2(job):
    done = job("--id", content_id("nobody"))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: --id ")
    assert done.stderr.count("\n") == 1
    missing = job("--id", character(ADA), "output=s3://no-such-bucket/run")
    assert (missing.returncode, missing.stderr.count("\n")) == (2, 1)

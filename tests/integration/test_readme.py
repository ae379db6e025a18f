"""The README's commands, exactly as it has them, in a copy of the project that a newcomer could have."""

import json
import os
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.runs import GOOD_PROFILE, PROJECT

CONFIG = "my.yaml"
ANSWER = "I bake it slowly, and I sing to it at dawn, whatever the weather is."
REWRITTEN = "Listen, friend: a good loaf wants patience, and patience wants an early morning."
SETTINGS = {
    "output": "runs/my",
    "engine": {
        "kind": "scripted",
        "default": json.dumps(GOOD_PROFILE),
        "replies": [
            {"contains": "assistant replies to rewrite", "reply": json.dumps({"replies": [REWRITTEN]})},
            {"contains": "Please", "reply": ANSWER},
        ],
    },
    "personas": {"source": "personas.jsonl"},
    "instructions": [{"corpus": "asked", "source": "instructions.jsonl"}],
    "curation": {"validation_fraction": 0.3, "near_duplicates": {"threshold": None}},
    "training": {"base_model": "embedded", "sequence_length": 256},
    "evaluation": {
        "limit": 2,
        "candidates": [{"name": "tuned", "model": "embedded"}],
        "judges": [{"name": "judge", "model": "embedded", "device": "cpu", "engine_kwargs": {"max_model_len": 8192}}],
    },
    "chat": {"models": [{"name": "base", "model": "embedded"}]},
}
ELSEWHERE = {
    "make demo": "CI gives this command itself",
    "make test": "CI gives this command itself",
    "make train CONFIG=my.yaml ARGS=\"'training.lora={rank: 16}'\"": "trains: tests/integration/test_training.py",
    "tensorboard --logdir runs/my/checkpoints/tensorboard": "serves until it is ended",
    "make eval CONFIG=my.yaml": "CI evaluates in `make demo`",
    "make judge-check CONFIG=my.yaml": "tests/integration/test_judge_check.py",
    "make judges-up CONFIG=my.yaml": "tests/integration/test_fleet.py",
    "make benchmark CONFIG=my.yaml": "tests/integration/test_benchmark_making.py",
    "make chat": "serves until it is ended: tests/integration/test_playground.py",
    'make chat CONFIG=my.yaml ARGS="chat.port=8080"': "the same",
    'make trace CONFIG=my.yaml BLAME=Toxicity ARGS="--candidate tuned --worst 5"': "tests/integration/test_blame.py",
    'make export CONFIG=my.yaml FORMAT=opencharacter ARGS="--push-to-hub OWNER/NAME --private"':
        "needs the hub: tests/integration/test_export.py",
    "make cluster-up": "tests/integration/test_local_cluster.py, as the four below",
    "make submit JOB=synthesize CONFIG=jobs/configs/demo.yaml": "",
    "make cluster-status": "",
    "make stop JOB_ID=synthesize-...": "",
    "make cluster-down": "",
}  # fmt: skip
"""Commands that are not run here, and why."""


def commands() -> list[str]:
    """Return the commands of the README's blocks, without their comments, in order."""
    blocks = re.findall(
        r"^```\n((?:make|\.venv/).*?)^```", (PROJECT / "README.md").read_text(), re.DOTALL | re.MULTILINE
    )
    return [re.sub(r"\s+#.*", "", line) for block in blocks for line in block.splitlines() if line.strip()]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder that has all that a checkout has, with a config and inputs of one's own."""
    folder = tmp_path_factory.mktemp("checkout")
    for entry in PROJECT.iterdir():
        if entry.name not in {"runs", ".git", ".venv"}:
            (folder / entry.name).symlink_to(entry)
    (folder / ".venv").mkdir()
    for entry in (PROJECT / ".venv").iterdir():
        if entry.name.startswith(".setup-"):
            (folder / ".venv" / entry.name).touch()  # fresh: the set-up would point the real .venv at this copy
        else:
            (folder / ".venv" / entry.name).symlink_to(entry)
    (folder / CONFIG).write_text(json.dumps(SETTINGS))
    people = [f"a baker from street {number} who sings at dawn" for number in range(20)]
    (folder / "personas.jsonl").write_text("".join(json.dumps({"persona": one}) + "\n" for one in people))
    asked = [f"Please tell me of loaf number {number}." for number in range(6)]
    (folder / "instructions.jsonl").write_text(
        "".join(json.dumps({"instruction": one, "output": f"It is loaf {one}"}) + "\n" for one in asked)
    )
    return folder


def run(command: str, folder: Path, environment: dict[str, str]) -> str:
    """Give a command to a shell; fail with what it printed where it fails."""
    ended = subprocess.run(
        command, shell=True, cwd=folder, env=os.environ | environment, capture_output=True, text=True, timeout=200
    )
    assert ended.returncode == 0, f"{command}\n{ended.stdout}{ended.stderr}"
    return ended.stdout


def test_what_is_not_run_here_is_in_the_readme():
    assert set(ELSEWHERE) <= set(commands())


@pytest.mark.parametrize("command", [command for command in commands() if command not in ELSEWHERE])
def test_a_command_of_the_readme_runs(command, checkout, shared_ray):
    """They run in their order, and each goes on with what those before it made."""
    if "runs/demo" in command and not (checkout / "runs" / "demo").exists():  # of the shape that `make demo` leaves
        run(f"make synthesize CONFIG={CONFIG} ARGS='output=runs/demo instructions=[]'", checkout, shared_ray)
    for an_id in re.findall(r"ID=([0-9a-f]{16})", command):
        command = command.replace(an_id, a_character(checkout))
    run(command.replace("tokens=450 ...", "tokens=450"), checkout, shared_ray)


def a_character(folder: Path) -> str:
    """Return the id of a character of the run."""
    read = "import pyarrow.parquet as pq; print(pq.read_table('runs/my/profiles')['character_id'][0])"
    return run(f".venv/bin/python -c {shlex.quote(read)}", folder, {}).strip()

"""The commands of README and docs, exactly as written, in a copy of the project that a newcomer could have."""

import json
import os
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.runs import GOOD_PROFILE, PROJECT

CONFIG = "run.yaml"
ANSWER = "I bake it slowly, and I sing to it at dawn, whatever the weather is."
REWRITTEN = "Listen, friend: a good loaf wants patience, and patience wants an early morning."
SETTINGS = {
    "output": "runs/mine",
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
    "make demo": "CI runs it",
    "make test": "CI runs it",
    "make example": "test_example.py",
    "pip install opencharacter_factory-0.1.0-py3-none-any.whl": "test_wheel.py",
    "uv pip install --override locks/overrides.txt --torch-backend cpu "
    '"opencharacter_factory-0.1.0-py3-none-any.whl[all-cpu]"': "installs 6 GB; run by hand before a release",
    "ray job submit --working-dir . -- python jobs/synthesize.py --config jobs/configs/demo.yaml": "e2e/test_submit.py",
    "export OPENAI_API_KEY=...": "a placeholder",
    "character-factory synthesize demo": "CI runs it in `make demo`",
    "character-factory report demo": "CI runs it in `make demo`",
    "character-factory init api": "test_command_line.py, as the next",
    "character-factory synthesize my-run.yaml --limit 100": "the embedded model, as in `make demo`",
    "character-factory synthesize my-run.yaml seed=7 dialogues.characters_per_instruction=5": "the same",
    "character-factory preview run.yaml": "below, with -n 3",
    "character-factory train run.yaml": "test_training.py",
    "character-factory train run.yaml 'training.lora={rank: 16}'": "test_training.py",
    "tensorboard --logdir runs/mine/checkpoints/tensorboard": "serves until it is ended",
    "character-factory evaluate run.yaml": "CI runs it in `make demo`",
    "character-factory judge-check run.yaml": "test_judge_check.py",
    "character-factory compare run.yaml --candidates tuned base": "unit/test_comparison.py",
    "character-factory export-scores run.yaml --format model-index": "unit/test_score_export.py",
    "character-factory label run.yaml": "serves until it is ended: test_label_page.py",
    "character-factory calibrate run.yaml": "test_labels.py",
    "character-factory judges-up run.yaml": "test_fleet.py",
    "character-factory generate-benchmark run.yaml": "test_benchmark_generation.py",
    "character-factory freeze-benchmark run.yaml": "test_freeze_benchmark.py",
    "character-factory chat demo": "serves until it is ended: test_playground.py",
    "character-factory chat run.yaml chat.port=8080": "the same",
    "character-factory trace run.yaml --explain Toxicity --candidate tuned --worst 5": "test_attribution.py",
    "character-factory export run.yaml --format opencharacter --push-to-hub OWNER/NAME --private":
        "needs the hub: test_export.py",
    "character-factory export run.yaml --format preferences": "needs judged answers or votes: test_preferences.py",
    "character-factory push-model run.yaml --push-to-hub OWNER/NAME": "needs the hub: test_export.py",
    "character-factory tune run.yaml": "test_tune.py, as the next",
    "character-factory tune run.yaml --only max_num_seqs --rows 500 --keep-config": "",
    "make cluster-up": "test_local_cluster.py, as the next four",
    "make submit JOB=synthesize CONFIG=jobs/configs/demo.yaml": "",
    "make cluster-status": "",
    "make stop JOB_ID=synthesize-...": "",
    "make cluster-down": "",
}  # fmt: skip
"""Commands that are not run here, and why."""
PAGES = ("README.md", *(f"docs/{name}.md" for name in (
    "quickstart", "clusters", "synthesis", "curation", "training", "evaluation", "report", "export", "playground",
    "tracing", "planning", "tuning",
)))  # fmt: skip


def commands() -> list[str]:
    """Return the commands of the pages' blocks, without their comments, in order."""
    texts = [(PROJECT / page).read_text() for page in PAGES]
    blocks = [
        block for text in texts for block in re.findall(r"^```(?:sh)?\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    ]
    lines = [re.sub(r"\s+#.*", "", line) for block in blocks for line in block.splitlines()]
    programs = ("make ", "character-factory ", "pip ", "uv ", "ray ", "export ", "tensorboard ")
    return list(dict.fromkeys(line for line in lines if line.startswith(programs)))


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


def test_commands_listed_as_not_run_are_documented():
    assert set(ELSEWHERE) <= set(commands())


@pytest.mark.parametrize("command", [command for command in commands() if command not in ELSEWHERE])
def test_a_documented_command_runs(command, checkout, shared_ray):
    """They run in their order, and each continues with what those before it made."""
    if "--pilot" in command and not (checkout / "runs" / "pilot").exists():
        run(f"character-factory synthesize {CONFIG} --limit 200 output=runs/pilot", checkout, shared_ray)
    for an_id in re.findall(r"--id ([0-9a-f]{16})", command):
        command = command.replace(an_id, a_character(checkout))
    run(command, checkout, shared_ray | {"PATH": f"{checkout}/.venv/bin:{os.environ['PATH']}"})


def a_character(folder: Path) -> str:
    """Return the id of a character of the run."""
    read = "import pyarrow.parquet as pq; print(pq.read_table('runs/mine/profiles')['character_id'][0])"
    return run(f".venv/bin/python -c {shlex.quote(read)}", folder, {}).strip()

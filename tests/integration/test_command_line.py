"""The command: a config to start from, a preview that keeps nothing, steps in a notebook, and its errors."""

import json
import subprocess
import sys
from pathlib import Path

import nbclient
import nbformat
import pytest

from factory import api
from factory.cli import COMMANDS
from factory.commands.init import kinds
from factory.config.loading import load_config
from factory.errors import InputError
from tests.integration.runs import GOOD_PROFILE, PROJECT

ANSWER = "I bake it slowly, and I sing to it at dawn, whatever the weather is."


def call(folder: Path, *arguments: str, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess:
    command = [Path(sys.executable).with_name("character-factory"), *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, env=environment)


@pytest.fixture
def config(tmp_path) -> str:
    replies = [{"contains": "Which", "reply": ANSWER}]
    engine = {"kind": "scripted", "default": json.dumps(GOOD_PROFILE), "replies": replies}
    rows = [{"messages": [{"role": "user", "content": f"Which loaf is number {n}?"}]} for n in range(9)]
    (tmp_path / "asked.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    settings = {
        "output": "runs/mine",
        "engine": engine,
        "personas": {"source": "data/personas.jsonl", "limit": 12},
        "instructions": [{"corpus": "asked", "source": "asked.jsonl"}],
    }
    (tmp_path / "run.yaml").write_text(json.dumps(settings))
    return "run.yaml"


@pytest.mark.parametrize("kind", kinds())
def test_init_writes_a_config_that_loads(kind, tmp_path):
    done = call(tmp_path, "init", kind)
    assert done.returncode == 0, done.stderr
    assert load_config(tmp_path / "run.yaml").output == "runs/mine"
    first = (tmp_path / "run.yaml").read_text().splitlines()[0]
    schema = Path(first.partition("$schema=file://")[2])
    assert "properties" in json.loads(schema.read_text())


def test_init_does_not_overwrite_a_file(tmp_path):
    (tmp_path / "run.yaml").write_text("mine")
    done = call(tmp_path, "init", "laptop")
    assert (done.returncode, done.stderr) == (2, "error: run.yaml exists; name another file, or move it away\n")
    assert (tmp_path / "run.yaml").read_text() == "mine"


@pytest.mark.slow
def test_preview_prints_characters_and_keeps_nothing(config, tmp_path):
    done = call(tmp_path, "preview", config, "-n", "2")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Name: Ada Oduya") == 2
    assert ANSWER in " ".join(done.stdout.replace("│", " ").split())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["asked.jsonl", "run.yaml"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["preview", "run.yaml", "-n", "0"], "-n is 0"),
        (["synthesise"], "no command 'synthesise'"),
        (["synthesize"], "no config; give a YAML file or a built-in one"),
        (["synthesize", "nowhere.yaml"], "nowhere.yaml: No such file"),
        (["synthesize", "run.yaml", "engine.kind=vlm"], "'engine.kind' is 'vlm'"),
        (["init", "desktop"], "invalid choice"),
    ],
)
def test_a_wrong_argument_is_one_line(arguments, said, config, tmp_path):
    done = call(tmp_path, *arguments)
    assert done.returncode == 2
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


def test_help_lists_every_command(tmp_path):
    shown = call(tmp_path, "--help").stdout
    assert all(f"  {name} " in shown for name in COMMANDS)
    assert "demo" in shown


def test_steps_that_do_not_exist_are_refused_in_a_notebook(tmp_path):
    settings = api.load("demo", f"output={tmp_path}/run")
    with pytest.raises(InputError, match="step 'report': give one that writes tables"):
        api.run("report", settings)
    with pytest.raises(InputError, match="there is no such table yet"):
        api.table(settings, "profiles")


@pytest.mark.slow
def test_the_example_notebook_runs(tmp_path):
    notebook = nbformat.read(PROJECT / "docs" / "notebook.ipynb", as_version=4)
    nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    (shown,) = [out for cell in notebook.cells[-1:] for out in cell.get("outputs", [])]
    assert "profile" in shown["data"]["text/plain"]

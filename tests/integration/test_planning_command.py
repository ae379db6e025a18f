"""The planner as its user meets it, in this process: it starts no Ray and writes nothing."""

import json
import sys

import pytest

from factory.commands.plan import run as plan
from factory.errors import ConfigError, InputError
from factory.resources import RESOURCES

DEMO = str(RESOURCES / "jobs/configs/demo.yaml")
GIVEN = [
    *(f"planning.{kind}.output_tokens=100" for kind in ("profiles", "generate", "rewrite", "answers")),
    *(f"planning.{kind}.output_tokens=100" for kind in ("examples", "judgments")),
    *(f"planning.{kind}.tokens_per_second=100" for kind in ("answers", "examples", "judgments")),
    "planning.tokens_per_second=100", "planning.startup_seconds=60", "planning.dialogue_tokens=400",
    "planning.training_tokens_per_second=70",
]  # fmt: skip


@pytest.fixture
def run(monkeypatch, capfd, tmp_path):
    def run(*arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", ["plan.py", *arguments, f"output={tmp_path}/run"])
        plan()
        assert not (tmp_path / "run").exists()
        return capfd.readouterr().out

    return run


def test_the_demos_calls_are_those_that_it_makes(run):
    document = json.loads(run("--config", DEMO, "--json", *GIVEN))
    rows = {
        stage["table"]: (stage["rows"]["point"], stage["calls"]["point"]) for stage in document["summary"]["stages"]
    }
    assert rows["profiles"] == (32, 32)
    assert rows["dialogues/generate-samples"] == (24, 24)
    assert rows["dialogues/generate-conversations"] == (8, 22)  # turn by turn
    assert rows["dialogues/rewrite-conversations"] == (8, 8)
    assert rows["evaluation/tuned/judgments/judge-b"] == (20, 20)  # of 4 personas, one question a task
    assert document["summary"]["complete"]
    assert not document["notes"]


def test_a_section_that_the_config_does_not_name_is_not_planned(run, tmp_path):
    config = tmp_path / "c.yaml"
    config.write_text("engine: {kind: scripted}\npersonas: {source: data/personas.jsonl}")
    told = run("--config", str(config), "planning.profiles.output_tokens=9", "planning.tokens_per_second=9")
    assert "profiles" in told
    assert "training" not in told
    assert "curation" not in told
    assert "scales" not in told  # replies that are given as data have no engine


def test_without_a_pilot_it_says_what_is_missing_and_how_to_measure_it(run):
    told = run("--config", DEMO)
    assert "Not known: profiles: tokens a reply are not known; planning.profiles.output_tokens." in told
    assert f"make synthesize CONFIG={DEMO} ARGS='--limit 200 output=runs/pilot'" in told
    assert "How the run scales is not told" in told


def test_tables_fit_a_hundred_columns(run):
    told = run("--config", DEMO, *GIVEN)
    assert max(len(line.rstrip()) for line in told.splitlines()) <= 100
    assert "The same on 1 to 1,000 replicas" in told


def test_gpus_are_named_where_another_engine_of_the_config_names_them(run):
    device = ["engine.device=gpu", "training.device=auto", "engine.engine_kwargs={tensor_parallel_size: 8}"]
    document = json.loads(run("--config", DEMO, "--json", *GIVEN, *device))
    gpus = {step["name"]: step["gpus"] for step in document["summary"]["steps"]}
    assert (gpus["profiles"], gpus["training"]) == (8, 2)
    told = run("--config", DEMO, *GIVEN, *device, "planning.gpu.judges=l40s")  # candidates count with them
    assert "h100, l40s as of" in told
    assert "The same on 1 to 1,000 GPUs" in told


@pytest.mark.parametrize(
    ("arguments", "kind", "said"),
    [
        (["--config", DEMO, "--pilot", "/nowhere"], InputError, "--pilot /nowhere: holds no finished table"),
        (["--config", DEMO, "planning.gpu=abacus"], ConfigError, "planning.gpu is 'abacus'"),
        (["--config", DEMO, "planning.profiles.output_token=3"], ConfigError, "did you mean 'output_tokens'"),
        (["--pilot", "x"], ConfigError, "no config"),
    ],
)
def test_a_mistake_is_told_in_a_line(run, arguments, kind, said):
    with pytest.raises(kind) as caught:
        run(*arguments)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)

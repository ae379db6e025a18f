"""The command `plan`, in this process: it starts no Ray and writes nothing."""

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


def test_plan_of_the_demo_counts_its_calls(run):
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


def test_judge_of_curation_is_planned_for_its_strategies(run):
    judge = "{name: critic, model: gpt-4o, base_url: https://api.openai.com/v1, on: [rewrite], sample: 0.5}"
    document = json.loads(run("--config", DEMO, "--json", *GIVEN, f"curation.judge={judge}"))
    stages = {stage["table"]: stage for stage in document["summary"]["stages"] if stage["table"].startswith("judged/")}
    rows = {"judged/rewrite-samples": 12, "judged/rewrite-conversations": 4}  # half of the dialogues
    assert {name: stage["rows"]["point"] for name, stage in stages.items()} == rows
    assert {stage["model"] for stage in stages.values()} == {"gpt-4o"}
    assert document["summary"]["endpoint_cost"]["point"] > 0


def test_omitted_sections_are_not_planned(run, tmp_path):
    config = tmp_path / "c.yaml"
    config.write_text("engine: {kind: scripted}\npersonas: {source: data/personas.jsonl}")
    text = run("--config", str(config), "planning.profiles.output_tokens=9", "planning.tokens_per_second=9")
    assert "profiles" in text
    assert "training" not in text
    assert "curation" not in text
    assert "scales" not in text  # scripted replies have no engine


def test_a_config_that_only_trains_names_no_engine(run):
    text = run("--config", str(RESOURCES / "jobs/configs/opencharacter-instruct.yaml"))
    assert "training" in text
    assert "profiles" not in text
    assert "planning.training_tokens_per_second" in text


def test_without_pilot_missing_numbers_are_listed(run):
    text = run("--config", DEMO)
    assert "Tokens of profiles, generate, rewrite" in text
    assert "are estimates, of prompts and usual replies; a pilot measures them." in text
    assert "Not known: profiles: the speed of embedded is not known; give planning.tokens_per_second" in text
    assert f"make synthesize CONFIG={DEMO} ARGS='--limit 200 output=runs/pilot'" in text
    assert "How the run scales is not known" in text


def test_tables_fit_in_100_columns(run):
    text = run("--config", DEMO, *GIVEN)
    assert max(len(line.rstrip()) for line in text.splitlines() if not line.startswith("From ")) <= 100
    assert "The same on 1 to 1,000 replicas" in text


def test_auto_device_is_gpu_if_another_part_names_one(run):
    device = ["engine.device=gpu", "training.device=auto", "engine.engine_kwargs={tensor_parallel_size: 8}"]
    document = json.loads(run("--config", DEMO, "--json", *GIVEN, *device))
    gpus = {step["name"]: step["gpus"] for step in document["summary"]["steps"]}
    assert (gpus["profiles"], gpus["training"]) == (8, 2)
    text = run("--config", DEMO, *GIVEN, *device, "planning.gpu.judges=l40s")  # candidates are priced as judges
    assert "h100, l40s as of" in text
    assert "The same on 1 to 1,000 GPUs" in text


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (["--config", DEMO, "--pilot", "/nowhere"], InputError, "--pilot /nowhere: holds no finished table"),
        (["--config", DEMO, "planning.gpu=abacus"], ConfigError, "planning.gpu is 'abacus'"),
        (["--config", DEMO, "planning.profiles.output_token=3"], ConfigError, "did you mean 'output_tokens'"),
        (["--pilot", "x"], ConfigError, "no config"),
    ],
)
def test_mistakes_are_reported_in_one_line(run, arguments, error, message):
    with pytest.raises(error) as caught:
        run(*arguments)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)

"""Role-play scores of a training's checkpoints, from a real small training to the report."""

import itertools
import json
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from factory.inference import model_files
from factory.personagym import TASKS
from factory.storage import file_io
from factory.training.checkpointing import checkpoints
from tests.integration.runs import Run
from tests.integration.small_training import curve, save_tiny, settings_of, write_dialogues

STEPS = [3, 6, 9, 11]
PERSONAS, FEWER = 3, 2
HIGH, LOW = (json.dumps({"reasoning": "It is what such a person would say.", "score": score}) for score in (4, 2))
LORA = {"rank": 2, "merge": False, "trainable_tokens": []}

pytestmark = pytest.mark.slow  # a training, and evaluations of it


@pytest.fixture(scope="module")
def make_trained(make_module_run, tmp_path_factory):
    """Return a function that trains, with all checkpoints kept, and a config that scores them."""
    tiny = str(tmp_path_factory.mktemp("tiny"))
    save_tiny(tiny)

    def make(name: str, **training: object) -> Run:
        settings = settings_of(tiny, save_total_limit=9, sample_replies=0, **training)
        run = make_module_run(name, training=settings)
        tuned = {"kind": "scripted", "name": "tuned", "model": f"{run.output}/model", "default": "I bake."}
        judges = [{"kind": "scripted", "name": name, "default": reply} for name, reply in (("a", HIGH), ("b", LOW))]
        run.config["evaluation"] = {
            "limit": PERSONAS, "candidates": [tuned], "judges": judges, "general": False, "checkpoints": "all",
        }  # fmt: skip
        for split, count in (("train", 90), ("validation", 20)):
            write_dialogues(run.output, split, count)
        run.finish(job="train")
        return run

    return make


@pytest.fixture(scope="module")
def trained(make_trained) -> Run:
    return make_trained("trained")


def exported(run: Run) -> dict[str, int]:
    """Return when the weights of each exported checkpoint were written."""
    found = (Path(run.output) / "checkpoint-scores/models").glob("step-*/*model.safetensors")
    return {path.parent.name: path.stat().st_mtime_ns for path in found if (path.parent / "manifest.json").exists()}


def tables(run: Run) -> dict[str, str]:
    """Return when each table of the checkpoints' evaluation was finished."""
    folder = Path(run.output) / "checkpoint-scores/evaluation"
    found = folder.rglob(".manifest.json")
    return {str(path.parent.relative_to(folder)): json.loads(path.read_text())["finished"] for path in found}


def scores(run: Run, folder: str = "checkpoint-scores/") -> dict:
    return json.loads(file_io.read_bytes(f"{run.output}/{folder}evaluation/scores.json"))


def weights(folder: str) -> dict[str, torch.Tensor]:
    return AutoModelForCausalLM.from_pretrained(model_files.fetch(folder)).state_dict()


def test_dry_run_names_checkpoints_and_exports_nothing(trained):
    said = trained.finish("--dry-run", "--offline", job="evaluate")
    assert "Plan for the checkpoints" in said
    assert "scores those of the steps 3, 6, 9, 11, and exports 4 of them first, from 0.1" in said
    calls = {words[1]: words[2] for line in said.splitlines() if (words := line.split())[:1] == ["answers"]}
    assert {calls[f"(step-{step})"] for step in STEPS} == {str(PERSONAS * len(TASKS))}
    assert not exported(trained)


def test_killed_evaluation_of_checkpoints_goes_on_and_does_nothing_twice(trained):
    trained.kill_when(lambda: len(exported(trained)) >= 2, job="evaluate")
    before = exported(trained)
    assert 2 <= len(before) <= len(STEPS)
    first = trained.finish(job="evaluate")
    after = exported(trained)
    assert sorted(after) == sorted(f"step-{step}" for step in STEPS)
    assert before.items() <= after.items()
    assert first.count("Exported step") <= len(STEPS) - len(before)
    for step in STEPS:
        answers = trained.rows(f"checkpoint-scores/evaluation/step-{step}/answers")
        assert len({row["question_id"] for row in answers}) == len(answers) == PERSONAS * len(TASKS)
        for judge in "ab":
            judged = trained.rows(f"checkpoint-scores/evaluation/step-{step}/judgments/{judge}")
            assert len(judged) == PERSONAS * len(TASKS)
    finished, document = tables(trained), scores(trained)
    trained.finish(job="evaluate")
    assert (exported(trained), tables(trained), scores(trained)) == (after, finished, document)


def test_scores_are_of_each_checkpoint_and_those_of_candidates_stay_apart(trained):
    document, own = scores(trained), scores(trained, "")
    assert document["protocol"] == "light"
    assert [one["name"] for one in document["candidates"]] == [f"step-{step}" for step in STEPS]
    assert [one["scores"]["pscore"]["mean"] for one in document["candidates"]] == pytest.approx([3] * len(STEPS))
    assert own["protocol"] == "full"
    assert [one["name"] for one in own["candidates"]] == ["tuned"]


def test_exported_checkpoints_are_the_models_of_their_steps(trained):
    models = {step: weights(f"{trained.output}/checkpoint-scores/models/step-{step}") for step in STEPS}
    name = "model.layers.0.mlp.up_proj.weight"
    assert not any(torch.equal(models[a][name], models[b][name]) for a, b in itertools.pairwise(STEPS))
    last = weights(f"{trained.output}/model")
    assert all(torch.equal(last[part], models[STEPS[-1]][part]) for part in last)


def test_report_shows_scores_over_steps_beside_validation_loss(trained):
    trained.finish(job="report")
    page = (Path(trained.output) / "report/index.html").read_text()
    data = json.loads(page.partition('<script type="application/json" id="data">')[2].partition("</script>")[0])
    losses = curve(trained, "validation")
    shown = data["training"]["checkpoint_scores"]
    assert [row[:3] for row in shown] == [pytest.approx([step, losses[step], 3]) for step in STEPS]
    assert all(low < 3 < high for *_, low, high in shown)


def test_best_scores_the_best_and_the_last(trained):
    losses = curve(trained, "validation")
    best = min(STEPS, key=lambda step: losses[step])
    chosen = ["evaluation.checkpoints=best", f"evaluation.limit={FEWER}"]
    said = trained.finish(*chosen, "--dry-run", "--offline", job="evaluate")
    wanted = ", ".join(map(str, sorted({best, STEPS[-1]})))
    assert f"scores those of the steps {wanted}, and exports 0 of them first" in said


def test_prune_deletes_the_models_and_keeps_the_scores(trained):
    kept = tables(trained)
    listed = trained.finish(job="prune")
    assert all(f"checkpoint-scores/models/step-{step}" in listed for step in STEPS)
    trained.finish("--yes", job="prune")
    assert not exported(trained)
    assert tables(trained) == kept
    assert len(checkpoints.complete_checkpoints(f"{trained.output}/checkpoints")) == len(STEPS)


def test_adapters_left_apart_are_scored_as_whole_models(make_trained):
    run = make_trained("adapters", lora=LORA, zero_stage=2)
    run.finish(job="evaluate")
    folders = [f"{run.output}/checkpoint-scores/models/step-{step}" for step in STEPS]
    assert all((Path(folder) / "adapter_config.json").exists() for folder in folders)
    models = [weights(folder) for folder in folders]
    name = "model.layers.0.mlp.up_proj.weight"
    assert not any(torch.equal(a[name], b[name]) for a, b in itertools.pairwise(models))
    assert [one["name"] for one in scores(run)["candidates"]] == [f"step-{step}" for step in STEPS]

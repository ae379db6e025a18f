"""The training worker, without Ray: skipped steps, changed settings, early stopping, and which weights are exported."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

FAST = ["too_many", "resumed-2-bf16-62"]
SLOW = ["resumed-1-bf16-63", "resumed-3-bf16-62", "resumed-1-fp32-62", "resumed-2-fp32-63", "resumed-3-fp32-63"]

KILLED = ["killed-2", "killed-3"]
SAMPLED = ["sampled-1", "sampled-2", "sampled-3"]


def results(folder: Path, *scenarios: str) -> dict[str, dict]:
    """Return what each scenario of `worker_runs` printed."""
    environment = os.environ | {"TORCH_EXTENSIONS_DIR": str(folder / "extensions"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "tests.integration.worker_runs", folder, *scenarios]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    found = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"scenario"')]
    return {each["scenario"]: each for each in found}


@pytest.fixture(scope="module")
def fast(tmp_path_factory) -> dict[str, dict]:
    return results(tmp_path_factory.mktemp("fast"), *FAST)


@pytest.fixture(scope="module")
def slow(tmp_path_factory) -> dict[str, dict]:
    return results(tmp_path_factory.mktemp("slow"), "changed", "exported", *KILLED, *SAMPLED, *SLOW)


def check_resumed(found: dict, names_all: bool) -> None:
    """Check that step 4 is skipped and named, its checkpoint follows a step later, and stopped runs are the same."""
    undisturbed = found["figures"]["undisturbed"]
    assert found["starts"] == {"undisturbed": [0], "in": [0, 2], "after": [0, 5]}
    assert [name for name in undisturbed if name.startswith("skipped")] == ["skipped 4"]
    assert sum(name.startswith("step") for name in undisturbed) == 7
    loss, norm, _, dialogues = undisturbed["skipped 4"]
    assert norm is None
    assert (loss is None, len(dialogues)) == ((False, 8) if names_all else (True, 1))
    assert found["poisoned"] in dialogues
    assert found["figures"]["in"] == found["figures"]["after"] == undisturbed
    assert found["same_weights"]


def test_run_goes_on_over_a_poisoned_batch_and_resumes_identically(fast):
    check_resumed(fast["resumed-2-bf16-62"], names_all=True)


def test_too_many_skipped_steps_end_training_and_keep_the_checkpoint(fast):
    found = fast["too_many"]
    assert found["kinds"][-4:-1].count("skipped") == 2
    assert (found["kinds"].count("saved"), found["kinds"][-1]) == (1, "failed")
    message = found["message"]
    assert message.startswith("training: 2 steps in a row went wrong, up to step 4, whose gradient is not finite (")
    assert "and 3 more); the checkpoint of step 2 stays; lower training.learning_rate (0.01)" in message
    assert "\n" not in message


@pytest.mark.slow
@pytest.mark.timeout(1000)
@pytest.mark.parametrize("scenario", SLOW)
def test_each_stage_and_precision_skips_and_resumes(slow, scenario):
    check_resumed(slow[scenario], names_all=scenario.endswith("62"))


@pytest.mark.slow
@pytest.mark.timeout(1000)
@pytest.mark.parametrize("scenario", KILLED)
def test_kills_in_asynchronous_saves_leave_the_whole_checkpoint_before(slow, scenario):
    found = slow[scenario]
    assert len(found["kills"]) == 10
    for kill in found["kills"]:
        assert not kill["changed"]
        # The next save waits for the one before: what is lost is at most two intervals, of two steps each.
        assert kill["done"] - kill["whole"] <= 4, found["kills"]
    assert len({kill["whole"] for kill in found["kills"]}) > 1
    assert found["killed"] == found["undisturbed"]
    assert found["same_weights"]
    assert not [name for name in found["left"] if name.startswith(".write")]


@pytest.mark.slow
@pytest.mark.timeout(1000)
def test_learning_rate_and_clipping_change_with_a_step(slow):
    found = slow["changed"]
    assert found["changes"] == [
        {"step": 5, "setting": "learning_rate", "before": 0.01, "after": 0.002},
        {"step": 5, "setting": "max_grad_norm", "before": 1.0, "after": 0.5},
    ]
    rates = {name: figures[2] for name, figures in found["figures"].items() if name.startswith("step")}
    assert rates == pytest.approx({f"step {n}": 0.002 - 0.001 * (n - 1) / 7 for n in range(5, 9)})


@pytest.mark.slow
@pytest.mark.timeout(1000)
def test_training_ends_early_and_exports_the_named_checkpoint(slow):
    found = slow["exported"]
    losses = {event["step"]: event["loss"] for event in found["events"] if event["kind"] == "validation"}
    best = min(losses, key=losses.__getitem__)
    assert max(losses) == best + 2 < 8, losses
    sizes = {}
    for name, (end, size) in found["exported"].items():
        assert (end["kind"], end["step"], end["stopped_early"]) == ("ended", best + 2, True)
        if name != "step-3 by 2":
            sizes[name] = (end["exported_step"], size)
    assert {name: step for name, (step, _) in sizes.items()} == {
        "step-1 by 2": 1, "last by 2": best + 2, "best by 2": best, "best by 1": best, "step-7 by 2": best + 2,
    }  # fmt: skip
    assert len({size for _, size in sizes.values()}) == 3
    assert sizes["best by 1"] == sizes["best by 2"]
    assert "no checkpoint 'step-3' of this training" in found["exported"]["step-3 by 2"][0]["message"]
    assert set(found["kept"]) >= {best, best + 2}


@pytest.mark.slow
@pytest.mark.timeout(1000)
@pytest.mark.parametrize("scenario", SAMPLED)
def test_sample_replies_change_neither_curve_nor_weights(slow, scenario):
    found = slow[scenario]
    without, sampled = found["figures"]
    assert sum(name.startswith("step") for name in without) == 8
    assert sampled == without
    assert found["same_weights"]
    assert found["samples"][0] == []
    assert [len(each) for each in found["samples"][1]] == [4] * 5
    assert len({json.dumps(each) for each in found["samples"][1]}) > 1  # the model that is trained replies

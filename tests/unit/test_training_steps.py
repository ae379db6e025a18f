"""Which steps end a training, what its metrics tell, and how fast it is: the pure parts."""

import math

import pytest

from factory.training.bad_steps import BadSteps, name_some
from factory.training.speed import PEAK_FLOPS, Operations, peak_flops
from factory.training.training_facts import is_stalled, setting_changes, training_facts

INF, NAN = math.inf, math.nan


@pytest.mark.parametrize(
    ("steps", "in_a_row"),
    [
        ([(2.0, True)], 0),
        ([(2.0, False)], 1),
        ([(NAN, False), (2.0, False)], 2),
        ([(2.0, False), (2.0, True), (2.0, False)], 1),
        ([(5.1, True)], 1),
        ([(4.9, True)], 0),
        ([(INF, True)], 1),
        ([(NAN, True)], 1),
    ],
)
def test_bad_steps_in_a_row_are_counted(steps, in_a_row):
    bad = BadSteps(limit=2, uniform_loss=4.0)
    for loss, is_applied in steps:
        bad.count(loss, is_applied)
    assert (bad.in_a_row, bad.are_too_many) == (in_a_row, in_a_row >= 2)


def test_reason_names_the_steps_and_a_few_dialogues():
    bad = BadSteps(limit=2, uniform_loss=4.0, in_a_row=1)
    assert bad.explain(7, INF, False, ["a"]) == "step 7 went wrong, its loss is not finite (dialogues a)"
    bad.in_a_row = 2
    assert bad.explain(7, 3.0, False, [*"abcdefg"]) == (
        "2 steps in a row went wrong, up to step 7, whose gradient is not finite (dialogues a, b, c, d, e and 2 more)"
    )
    assert "whose loss is 9.0, and that of a uniform guess 4.0 (" in bad.explain(7, 9.0, True, ["a"])
    assert name_some([*"abcde"]) == "a, b, c, d, e"


def settings(step: int, **changed: object) -> dict:
    base = {"learning_rate": 1e-5, "final_learning_rate": 1e-6, "lr_scheduler_type": "linear", "warmup_ratio": 0}
    return {"kind": "settings", "step": step, **base, "max_grad_norm": 1.0, **changed}


def test_each_change_of_a_setting_has_its_step():
    rows = [settings(1), settings(4), settings(7, learning_rate=5e-6), settings(9, max_grad_norm=0.5)]
    assert setting_changes(rows) == [
        {"step": 7, "setting": "learning_rate", "before": 1e-5, "after": 5e-6},
        {"step": 9, "setting": "learning_rate", "before": 5e-6, "after": 1e-5},
        {"step": 9, "setting": "max_grad_norm", "before": 1.0, "after": 0.5},
    ]
    assert setting_changes(rows[:2]) == setting_changes([]) == []
    assert training_facts({"settings": rows[:2], "skipped": [{"step": 3}]}) == {
        "skipped_steps": 1,
        "settings_changes": [],
    }


def validations(*losses: float | None, dialogues: int = 9) -> list[dict]:
    return [{"step": step, "loss": loss, "dialogues": dialogues} for step, loss in enumerate(losses)]


@pytest.mark.parametrize(
    ("losses", "patience", "stalled"),
    [
        ((), 1, False),
        ((3.0,), 1, False),
        ((3.0, 2.0, 2.5), 1, True),
        ((3.0, 2.0, 2.5), 2, False),
        ((3.0, 2.0, 2.5, 2.1), 2, True),
        ((3.0, 2.0, 2.5, 1.9), 2, False),
        ((3.0, 2.0, 2.0), 1, True),
        ((3.0, None, None), 2, True),
        ((None, None), 1, True),
        ((3.0, 4.0, 5.0), None, False),
    ],
)
def test_training_stalls_after_validations_without_a_new_lowest_loss(losses, patience, stalled):
    assert is_stalled(validations(*losses), patience) is stalled


def test_validations_of_other_dialogues_are_not_compared():
    before = validations(1.0, 1.1, dialogues=5)
    assert not is_stalled([*before, *validations(2.0)], 2)
    assert is_stalled([*before, *validations(2.0, 2.1, 2.2)], 2)


@pytest.mark.parametrize(
    ("device", "teraflops"),
    [
        ("NVIDIA H100 PCIe", 756), ("NVIDIA H100 80GB HBM3", 989), ("NVIDIA H100 NVL", 835), ("NVIDIA H200", 989),
        ("NVIDIA B200", 2250), ("NVIDIA L40S", 362), ("NVIDIA L4", 121), ("NVIDIA A100-SXM4-80GB", 312),
        ("NVIDIA A100 80GB PCIe", 312), ("NVIDIA A10G", 70), ("AMD Instinct MI300X", 1307),
    ],
)  # fmt: skip
def test_peak_is_that_of_the_device(device, teraflops):
    assert peak_flops(device) == teraflops * 1e12


def test_peak_of_another_device_is_not_known():
    assert peak_flops("Quadro RTX 6000") is None
    shadowed = [name for n, name in enumerate(PEAK_FLOPS) if any(each in name for each in [*PEAK_FLOPS][:n])]
    assert shadowed == []


def test_utilization_counts_learned_logits_alone():
    operations = Operations(per_token=600, per_learned_token=60)
    assert operations.utilization(tokens=100, learned=10, seconds=2, peak=60_600) == pytest.approx(0.5)

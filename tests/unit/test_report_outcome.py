"""The report's key results: numbers of the run, or the command that is missing."""

from typing import Any

import pytest

from factory.report.sections import outcome, scores
from tests.made_scores import scores_of

GAIN = {"before": 2.4, "after": 2.0, "change": -0.4, "low": -0.5, "high": -0.3, "dialogues": 20, "significant": True}


def key_results(
    document: dict | None = None,
    gain: dict | None = None,
    rows: tuple[dict, ...] = (),
    costs: dict | None = None,
    own: tuple[str, ...] = ("tuned",),
) -> list[dict[str, Any]]:
    shown = scores.score_data(document or {}, pytest.fail)
    return outcome.key_results(shown, gain, rows, costs or {}, own, lambda step: f"run {step}")


def row(table: str, rows: int, ok: int, finished: bool = True, **rejected: int) -> dict[str, Any]:
    return {"table": table, "rows": rows, "ok": ok, "finished": finished, "rejected": rejected}


def with_difference(difference: float, low: float, high: float, verdict: str, swapped: bool = False) -> dict:
    document = scores_of(12)
    for candidate in document["candidates"]:
        candidate["rank"] |= {"low": 1, "high": 2}
    for comparison in document["comparisons"]:
        if swapped:
            comparison["a"], comparison["b"] = comparison["b"], comparison["a"]
        for result in comparison["results"]:
            result |= {"difference": difference, "low": low, "high": high, "verdict": verdict}
    return document


def test_training_result_has_difference_interval_and_personas():
    training, leader, *_ = key_results(scores_of(12), GAIN)
    assert (training["value"], training["tone"], training["command"]) == ("Yes: PScore +1.40", "good", "")
    assert training["interval"] == [1.0, 1.4, 1.8]
    assert "95 % interval +1.00 to +1.80, over 12 personas, mean of 2 judges" in training["detail"]
    assert "Validation loss 2.400 before and 2.000 after" in training["detail"]
    assert leader["value"] == "tuned"
    assert "PScore 4.00 [3.80, 4.20] over 12 personas" in leader["detail"]


@pytest.mark.parametrize(
    ("document", "value", "interval"),
    [
        (with_difference(-0.5, -0.9, -0.1, "lower"), "No, worse: PScore -0.50", [-0.9, -0.5, -0.1]),
        (with_difference(-0.5, -0.9, -0.1, "lower", swapped=True), "Yes: PScore +0.50", [0.1, 0.5, 0.9]),
        (with_difference(0.1, -0.2, 0.4, "no_difference_shown"), "No change shown: PScore +0.10", [-0.2, 0.1, 0.4]),
        (with_difference(0.1, -0.2, 0.4, "too_few"), "Too few personas to say: PScore +0.10", [-0.2, 0.1, 0.4]),
        (
            with_difference(0.3, 0.2, 0.4, "depends_on_unscored"),
            "It depends on the unscored answers: PScore +0.30",
            [0.2, 0.3, 0.4],
        ),
    ],
)
def test_training_result_follows_the_verdict(document, value, interval):
    training, *_ = key_results(document)
    assert (training["value"], training["interval"]) == (value, interval)


def test_a_lead_that_is_not_shown_is_marked():
    _, leader, *_ = key_results(with_difference(0.1, -0.2, 0.4, "no_difference_shown"))
    assert leader["detail"].endswith("The lead is not shown: its rank is between 1 and 2.")
    assert "not shown" not in key_results(scores_of(12))[1]["detail"]


def test_without_scores_the_validation_loss_is_shown():
    training, leader, *_ = key_results(gain=GAIN)
    assert (training["value"], training["command"]) == ("Yes", "run evaluate")
    assert (leader["value"], leader["command"]) == ("No scores yet", "run evaluate")


def test_empty_run_has_commands_and_no_numbers():
    results = key_results()
    assert [one["command"] for one in results] == ["run train", "run evaluate", "run synthesize", ""]
    assert not [one for one in results if any(letter.isdigit() for letter in one["value"] + one["detail"])]


def test_trained_model_without_metrics_is_not_measured():
    training, *_ = key_results(rows=(row("checkpoints", 5, 5),))
    assert (training["value"], training["command"]) == ("Not measured", "run evaluate")


def test_kept_share_counts_from_attempted_dialogues():
    dialogues = row("dialogues/generate-x", 100, 80, truncated=15, empty_reply=5)
    curated = row("curated/train", 80, 60, near_duplicate=16, toxic=4)
    kept = key_results(rows=(dialogues, curated))[2]
    assert (kept["value"], kept["command"]) == ("60 %", "")
    assert kept["detail"] == (
        "60 of 100 dialogues are in the curated set. "
        "Main reasons why not: near duplicate 16, truncated 15, empty reply 5."
    )
    uncurated = key_results(rows=(dialogues,))[2]
    assert (uncurated["value"], uncurated["command"]) == ("80 %", "run curate")


def test_cost_names_what_has_no_price():
    priced = {
        "rows": [{"why": ""}, {"why": "on CPUs"}],
        "total": 3.2,
        "open": 1,
        "currency": "USD",
        "date": "2026-01-01",
    }
    *_, cost = key_results(costs=priced)
    assert (cost["value"], cost["detail"]) == (
        "3.20 USD",
        "Endpoints by their token prices, GPUs by the price table of 2026-01-01. Parts without a price: 1 of 2.",
    )
    *_, unpriced = key_results(costs=priced | {"total": None, "open": 2})
    assert (unpriced["value"], unpriced["detail"]) == ("Not priced", "Parts without a price: 2 of 2: on CPUs.")


def test_equal_warnings_of_several_judges_are_merged():
    text = "(m) shares the family x with candidate 'base'"
    merged = scores.merge_warnings([f"judge 'a' {text}", f"judge 'b' {text}", "few examples", "few examples"])
    assert merged == [f"each of the judges 'a', 'b' {text}", "few examples"]

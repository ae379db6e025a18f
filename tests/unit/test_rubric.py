"""Rubric files of both benchmarks: their criteria."""

from pathlib import Path

import pytest

from factory.evaluation.rubric import Rubric, read_rubric
from factory.personagym import TASKS

ROOT = Path(__file__).parents[2]
BUILT_IN = ROOT / "data" / "benchmark" / "rubrics"
PERSONAGYM = ROOT.parent / "shared" / "data" / "personagym" / "rubrics"
SLOTS = ("{persona}", "{question}", "{response}", "{score_example}")


@pytest.fixture(params=[BUILT_IN, PERSONAGYM], ids=["built-in", "PersonaGym"])
def folder(request) -> Path:
    if not request.param.is_dir():
        pytest.skip(f"{request.param} is missing")
    return request.param


@pytest.mark.parametrize("task", TASKS)
def test_criteria_explain_scores_without_data(folder, task):
    criteria = read_rubric(task, (folder / f"{task}.txt").read_text("utf-8")).criteria
    assert criteria.startswith("Evaluation Task:")
    assert all(f"Score = {score}:" in criteria for score in range(1, 6))
    assert not any(slot in criteria for slot in SLOTS)
    assert "-----" not in criteria
    assert "Persona Description" not in criteria


@pytest.mark.parametrize(
    ("template", "criteria"),
    [
        ("Judge well.\n\n{persona}\n{response}", "Judge well."),
        ("Judge well.\n-----\nand fairly\n{persona}", "Judge well.\n-----\nand fairly"),
        ("Intro\nEvaluation Task:\nT\n{persona}", "Evaluation Task:\nT"),
        ("{persona}\n-----\nEvaluation Task: T\nScore = 1\r\n------\r\n{response}", "Evaluation Task: T\nScore = 1"),
        ("Evaluation Task:\nT", "Evaluation Task:\nT"),
        ("No slots, only {braces}", "No slots, only {braces}"),
    ],
)
def test_criteria_end_where_data_begins(template, criteria):
    assert read_rubric("T", template) == Rubric("T", template, criteria)

"""Rubric files of both benchmarks: their criteria, and slots that take data as data."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factory.evaluation.rubric import Rubric, fill, read_rubric
from factory.personagym import TASKS

ROOT = Path(__file__).parents[2]
BUILT_IN = ROOT / "data" / "benchmark" / "rubrics"
PERSONAGYM = ROOT.parent / "shared" / "data" / "personagym" / "rubrics"
EXAMPLES = [f"line one of {score}\n\nline two of {score}" for score in range(1, 6)]
SLOTS = ("{persona}", "{question}", "{response}", "{score_example}")

SMALL = Rubric("T", "{a} {persona}|{question}|{response}|{score_example} {}", "C")


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


@pytest.mark.parametrize("task", TASKS)
def test_filled_file_has_all_data_and_no_slot(folder, task):
    rubric = read_rubric(task, (folder / f"{task}.txt").read_text("utf-8"))
    filled = fill(rubric, "THE PERSONA", "THE QUESTION", "THE RESPONSE", EXAMPLES)
    assert not any(slot in filled for slot in SLOTS)
    for text in ("THE PERSONA", "THE QUESTION", "THE RESPONSE", rubric.criteria, *EXAMPLES):
        assert text in filled


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


def test_slots_and_braces_in_data_stay_text():
    filled = fill(SMALL, "{response} {0}", "{persona}", "{score_example}\\1", ["{question}"])
    assert filled == "{a} {response} {0}|{persona}|{score_example}\\1|Score 1: {question} {}"


@given(texts=st.lists(st.text(), min_size=4, max_size=4))
def test_data_is_unchanged(texts):
    persona, question, response, example = texts
    filled = fill(SMALL, persona, question, response, [example])
    assert filled == f"{{a}} {persona}|{question}|{response}|Score 1: {example} {{}}"


def test_examples_slot_is_empty_without_examples():
    assert fill(SMALL, "p", "q", "r", []) == "{a} p|q|r| {}"

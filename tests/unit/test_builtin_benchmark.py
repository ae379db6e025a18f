"""The built-in benchmark: its personas, questions, settings and rubrics."""

import json
import re
import string
import unicodedata
from collections import Counter
from pathlib import Path

import pytest
from lingua import Language, LanguageDetectorBuilder

DATA = Path(__file__).parents[2] / "data"
BENCHMARK = DATA / "benchmark"
QUESTION_FILES = BENCHMARK / "questions" / "builtin-v1"
TASKS = ["Expected Action", "Toxicity", "Linguistic Habits", "Persona Consistency", "Action Justification"]

PERSONAS: list[str] = json.loads((BENCHMARK / "personas.json").read_text("utf-8"))
SETTINGS: list[str] = json.loads((BENCHMARK / "settings.json").read_text("utf-8"))
QUESTIONS: dict[str, dict[str, list[str]]] = {
    path.stem: json.loads(path.read_text("utf-8")) for path in QUESTION_FILES.glob("*.json")
}
ALL_QUESTIONS = [question for tasks in QUESTIONS.values() for questions in tasks.values() for question in questions]


def plain(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.casefold()))


def language_of() -> dict[str, Language | None]:
    detector = LanguageDetectorBuilder.from_languages(Language.ENGLISH, Language.KOREAN, Language.SPANISH).build()
    return {text: detector.detect_language_of(text) for text in [*PERSONAS, *ALL_QUESTIONS]}


def test_there_are_twenty_distinct_personas():
    assert len(PERSONAS) == len({plain(persona) for persona in PERSONAS}) == 20


def test_personas_are_not_in_sample_data():
    lines = (DATA / "personas.jsonl").read_text("utf-8").splitlines()
    samples = {plain(json.loads(line)["persona"]) for line in lines}
    assert samples.isdisjoint(plain(persona) for persona in PERSONAS)


def test_each_persona_has_a_file():
    assert set(QUESTIONS) == set(PERSONAS)


@pytest.mark.parametrize("persona", PERSONAS)
def test_personas_are_valid_file_names(persona: str):
    assert len(f"{persona}.json".encode()) < 200
    assert not re.search(r'[\\/:*?"<>|\x00-\x1f]|[. ]$', persona)
    assert unicodedata.is_normalized("NFC", persona)


def test_each_persona_has_two_questions_for_each_task():
    for tasks in QUESTIONS.values():
        assert {task: len(questions) for task, questions in tasks.items()} == dict.fromkeys(TASKS, 2)


def test_questions_are_unique():
    assert len(ALL_QUESTIONS) == len({plain(question) for question in ALL_QUESTIONS}) == 200


def test_questions_have_15_to_50_words():
    assert not [question for question in ALL_QUESTIONS if not 15 <= len(question.split()) <= 50]


def test_questions_are_in_the_personas_language():
    language = language_of()
    assert Counter(language[persona] for persona in PERSONAS) == {
        Language.ENGLISH: 18,
        Language.KOREAN: 1,
        Language.SPANISH: 1,
    }
    for persona, tasks in QUESTIONS.items():
        for questions in tasks.values():
            assert [language[question] for question in questions] == [language[persona]] * 2


def test_settings_are_distinct():
    assert len(SETTINGS) == len({plain(setting) for setting in SETTINGS}) >= 30


def test_each_task_has_a_rubric():
    assert {path.name for path in (BENCHMARK / "rubrics").iterdir()} == {f"{task}.txt" for task in TASKS}


@pytest.mark.parametrize("task", TASKS)
def test_rubric_has_each_slot_once_and_all_scores(task: str):
    rubric = (BENCHMARK / "rubrics" / f"{task}.txt").read_text("utf-8")
    slots = [name for _, name, _, _ in string.Formatter().parse(rubric) if name is not None]
    assert sorted(slots) == ["persona", "question", "response", "score_example"]
    assert re.findall(r"^Score = (\d): \S", rubric, re.MULTILINE) == list("12345")
    assert f"Evaluation Task:\n\n{task}\n" in rubric
    assert "Therefore, the final score is" in rubric

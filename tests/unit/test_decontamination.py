"""Decontamination: benchmark texts are found, and other texts are not."""

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from factory.config import RunConfig
from factory.curation.rules.decontamination import (
    BUILT_IN,
    BenchmarkTexts,
    find_benchmark_text,
    read_benchmark_texts,
)
from factory.errors import InputError
from factory.records import Message

PERSONA = "A 50-year-old lighthouse keeper from Galway who paints gulls"
QUESTION = (
    "A storm has cut the line and a trawler is asking for the harbour light: what do you do first, "
    "and how do you tell your sister about it afterwards?"
)
SHORT = "Who are you?"


def write(folder: Path, personas: object = None, questions: object = None) -> str:
    (folder / "questions" / "set-1").mkdir(parents=True)
    (folder / "personas.json").write_text(json.dumps([PERSONA] if personas is None else personas))
    tasks = {"Expected Action": [QUESTION], "Toxicity": [SHORT]} if questions is None else questions
    (folder / "questions" / "set-1" / "one.json").write_text(json.dumps(tasks))
    return str(folder)


@pytest.fixture
def benchmark(tmp_path) -> BenchmarkTexts:
    return read_benchmark_texts(write(tmp_path), 13)


def found(benchmark: BenchmarkTexts, *contents: str) -> str | None:
    return find_benchmark_text(tuple(map(Message, ("system", "user", "assistant"), contents)), benchmark)


@pytest.mark.parametrize(
    "text",
    [
        QUESTION,
        QUESTION.upper().replace(":", " - "),
        f"My teacher asked me this: {QUESTION} I said nothing.",
        "a trawler is asking for the harbour light; what do you do first, and how",
        "You are\n" + PERSONA.replace("-", " ") + "\nand nobody else.",
        f"Hello.\n{SHORT}\nI am Ada.",
    ],
)
def test_benchmark_texts_are_found_in_every_message(benchmark, text):
    for number, role in enumerate(("system", "user", "assistant")):
        contents = ["a baker", "How do I bake bread?", "With flour."]
        contents[number] = text
        result = found(benchmark, *contents)
        assert result
        assert result.startswith(f"{role}: ")


@pytest.mark.parametrize(
    "text",
    [
        "A storm has cut the line, so no bread today.",
        "A 50-year-old lighthouse keeper from Cork who paints gulls",
        "asking for the harbour light: what do you do first, and how?",
        "Tell me who are you? And what do you bake?",
        "",
    ],
)
def test_other_texts_are_accepted(benchmark, text):
    assert found(benchmark, "a baker", text, "With flour.") is None


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(before=st.text(), mark=st.text(alphabet=" .,!?\n"))
def test_surrounding_text_hides_nothing(benchmark, before, mark):
    assert found(benchmark, f"{before} {mark}{QUESTION}{mark} {before}")


@pytest.mark.parametrize(
    ("personas", "questions", "message"),
    [
        ("no list", None, "personas.json"),
        ([], None, "personas.json"),
        ([1], None, "personas.json"),
        (None, ["no tasks"], "one.json"),
        (None, {"Toxicity": "no list"}, "one.json"),
    ],
)
def test_broken_benchmarks_are_reported(tmp_path, personas, questions, message):
    path = write(tmp_path, personas, questions)
    with pytest.raises(InputError, match=message) as problem:
        read_benchmark_texts(path, 13)
    assert "curation.benchmark" in str(problem.value)


def test_missing_benchmarks_are_reported(tmp_path):
    with pytest.raises(InputError, match=r"personas\.json: no such file"):
        read_benchmark_texts(str(tmp_path / "nowhere"), 13)
    path = write(tmp_path)
    (tmp_path / "questions" / "set-1" / "one.json").write_text("{")
    with pytest.raises(InputError, match="not JSON"):
        read_benchmark_texts(path, 13)
    (tmp_path / "questions" / "set-1" / "one.json").unlink()
    with pytest.raises(InputError, match="questions: has no <set>"):
        read_benchmark_texts(path, 13)


def test_built_in_benchmark_can_be_read():
    benchmark = read_benchmark_texts(None, 13)
    assert benchmark.path == BUILT_IN
    assert benchmark.texts > 100
    first = json.loads(Path(BUILT_IN, "personas.json").read_text())[0]
    assert found(benchmark, f"You are {first}.")


def test_digest_depends_on_the_texts(tmp_path):
    first = read_benchmark_texts(write(tmp_path / "a"), 13)
    assert first.digest == read_benchmark_texts(write(tmp_path / "b"), 13).digest
    assert first.digest != read_benchmark_texts(write(tmp_path / "c", ["A smith from Mayo with a limp"]), 13).digest


def test_custom_benchmark_paths_are_resolved():
    tree = {"output": "out", "engine": {"kind": "scripted"}, "personas": {"source": "p"}}
    own = RunConfig.model_validate({**tree, "curation": {"benchmark": "gym"}})
    placed = own.with_paths(lambda path: f"/in/{path}", lambda path: f"/out/{path}")
    assert placed.curation.benchmark == "/in/gym"
    assert own.limited(7).curation.limit == 7
    assert RunConfig.model_validate(tree).with_paths(str, str).curation.benchmark is None

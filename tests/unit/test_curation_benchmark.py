"""No text of the benchmark comes through, and other texts do."""

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from factory.config import RunConfig
from factory.curation.rules.decontamination import BUILT_IN, Benchmark, benchmark_text, read_benchmark
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
    held = {"Expected Action": [QUESTION], "Toxicity": [SHORT]} if questions is None else questions
    (folder / "questions" / "set-1" / "one.json").write_text(json.dumps(held))
    return str(folder)


@pytest.fixture
def benchmark(tmp_path) -> Benchmark:
    return read_benchmark(write(tmp_path), 13)


def found(benchmark: Benchmark, *contents: str) -> str | None:
    return benchmark_text(tuple(map(Message, ("system", "user", "assistant"), contents)), benchmark)


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
def test_a_benchmarks_text_is_found_wherever_it_stands(benchmark, text):
    for place, role in enumerate(("system", "user", "assistant")):
        contents = ["a baker", "How do I bake bread?", "With flour."]
        contents[place] = text
        told = found(benchmark, *contents)
        assert told
        assert told.startswith(f"{role}: ")


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
def test_another_text_is_not(benchmark, text):
    assert found(benchmark, "a baker", text, "With flour.") is None


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(before=st.text(), mark=st.text(alphabet=" .,!?\n"))
def test_what_stands_around_it_hides_nothing(benchmark, before, mark):
    assert found(benchmark, f"{before} {mark}{QUESTION}{mark} {before}")


@pytest.mark.parametrize(
    ("personas", "questions", "said"),
    [
        ("no list", None, "personas.json"),
        ([], None, "personas.json"),
        ([1], None, "personas.json"),
        (None, ["no tasks"], "one.json"),
        (None, {"Toxicity": "no list"}, "one.json"),
    ],
)
def test_a_broken_benchmark_is_told(tmp_path, personas, questions, said):
    place = write(tmp_path, personas, questions)
    with pytest.raises(InputError, match=said) as told:
        read_benchmark(place, 13)
    assert "curation.benchmark" in str(told.value)


def test_a_benchmark_that_is_not_there_is_told(tmp_path):
    with pytest.raises(InputError, match=r"personas\.json: no such file"):
        read_benchmark(str(tmp_path / "nowhere"), 13)
    place = write(tmp_path)
    (tmp_path / "questions" / "set-1" / "one.json").write_text("{")
    with pytest.raises(InputError, match="not JSON"):
        read_benchmark(place, 13)
    (tmp_path / "questions" / "set-1" / "one.json").unlink()
    with pytest.raises(InputError, match="questions: holds no"):
        read_benchmark(place, 13)


def test_the_built_in_benchmark_can_be_read():
    benchmark = read_benchmark(None, 13)
    assert benchmark.place == BUILT_IN
    assert benchmark.texts > 100
    first = json.loads(Path(BUILT_IN, "personas.json").read_text())[0]
    assert found(benchmark, f"You are {first}.")


def test_another_benchmark_has_another_digest(tmp_path):
    one = read_benchmark(write(tmp_path / "a"), 13)
    assert one.digest == read_benchmark(write(tmp_path / "b"), 13).digest
    assert one.digest != read_benchmark(write(tmp_path / "c", ["A smith from Mayo with a limp"]), 13).digest


def test_a_benchmark_of_ones_own_is_an_input_like_the_others():
    tree = {"output": "out", "engine": {"kind": "scripted"}, "personas": {"source": "p"}}
    own = RunConfig.model_validate({**tree, "curation": {"benchmark": "gym"}})
    placed = own.with_paths(lambda path: f"/in/{path}", lambda path: f"/out/{path}")
    assert placed.curation.benchmark == "/in/gym"
    assert own.limited(7).curation.limit == 7
    assert RunConfig.model_validate(tree).with_paths(str, str).curation.benchmark is None

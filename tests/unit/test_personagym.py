"""Reading a benchmark: its questions are those of the files, and an invalid file is reported first."""

import json
import unicodedata
from pathlib import Path

import pytest

from factory.errors import InputError
from factory.personagym import (
    BUILT_IN,
    TASKS,
    Benchmark,
    all_questions,
    benchmark_digest,
    chosen_personas,
    open_benchmark,
    persona_questions,
)
from factory.records import content_id
from factory.resources import RESOURCES
from tests.made_checkout import PERSONAS, questions_for, write_checkout

PERSONAGYM = RESOURCES.parent / "shared" / "data" / "personagym"
RUBRIC = "Judge this.\n{score_example}\n{persona}\n{question}\n{response}\n"
KEEPER = "A lighthouse keeper from Galway who paints gulls"
SMITH = "A smith/farrier from Mayo"
"""Not possible as a file name."""


def tasks_for(name: str, count: int = 3) -> dict[str, list[str]]:
    return {task: [f"{name}, {task}: what do you say to number {n}?" for n in range(count)] for task in TASKS}


def write(folder: Path, personas: object = (KEEPER, SMITH), name: str = "set-1") -> Path:
    questions = folder / "questions" / name
    questions.mkdir(parents=True)
    (folder / "rubrics").mkdir(exist_ok=True)
    (folder / "personas.json").write_text(json.dumps(personas))
    (questions / f"{KEEPER}.json").write_text(json.dumps(tasks_for("keeper")))
    (questions / f"{content_id(SMITH)}.json").write_text(json.dumps(tasks_for("smith")))
    for task in TASKS:
        (folder / "rubrics" / f"{task}.txt").write_text(RUBRIC)
    return folder


def rewrite(folder: Path, **changes: object) -> Path:
    """Replace questions of the keeper's tasks."""
    questions = tasks_for("keeper") | {task.replace("_", " "): value for task, value in changes.items()}
    left = {task: value for task, value in questions.items() if value is not None}
    (folder / "questions" / "set-1" / f"{KEEPER}.json").write_text(json.dumps(left))
    return folder


def keeper(folder: Path) -> dict[str, list[str]]:
    return persona_questions(open_benchmark(str(folder)), KEEPER)


def test_built_in_benchmark_is_complete():
    benchmark = open_benchmark(None)
    assert (benchmark.folder, benchmark.name) == (BUILT_IN, "builtin-v1")
    read = dict(all_questions(benchmark))
    assert list(read) == sorted(benchmark.personas, key=content_id)
    assert len(read) == 20
    assert all(list(map(len, questions.values())) == [2] * 5 for questions in read.values())


def test_personagym_itself():
    if not PERSONAGYM.is_dir():
        pytest.skip(f"{PERSONAGYM} is missing: PersonaGym's slice lies there, see ../shared/data/README.md")
    benchmark = open_benchmark(str(PERSONAGYM))
    assert (benchmark.name, len(benchmark.personas)) == ("benchmark-v1", 60)
    read = dict(all_questions(benchmark))
    assert {persona: {t: len(q) for t, q in tasks.items()} for persona, tasks in read.items()} == dict.fromkeys(
        benchmark.personas, dict.fromkeys(TASKS, 10)
    )
    persona = benchmark.personas[7]
    raw = json.loads((PERSONAGYM / "questions" / "benchmark-v1" / f"{persona}.json").read_text())
    assert read[persona] == {task: raw[task] for task in TASKS}
    assert persona_questions(benchmark, persona, 1) == {task: raw[task][:1] for task in TASKS}


def test_file_is_found_by_sentence_or_id(tmp_path):
    benchmark = open_benchmark(str(write(tmp_path)))
    assert persona_questions(benchmark, KEEPER) == tasks_for("keeper")
    assert persona_questions(benchmark, SMITH) == tasks_for("smith")


def test_texts_are_normalized(tmp_path):
    name = "Zoë, who  paints\tgulls"
    folder = write(tmp_path, [unicodedata.normalize("NFD", name), KEEPER])
    path = folder / "questions" / "set-1" / (unicodedata.normalize("NFD", "Zoë, who paints gulls") + ".json")
    path.write_text(json.dumps(tasks_for("zoë") | {"Toxicity": [unicodedata.normalize("NFD", " Does  Zoë\n swear? ")]}))
    benchmark = open_benchmark(str(folder))
    assert benchmark.personas == ("Zoë, who paints gulls", KEEPER)
    assert persona_questions(benchmark, "Zoë, who paints gulls")["Toxicity"] == ["Does Zoë swear?"]


def test_braces_in_questions_stay_text(tmp_path):
    odd = "What does {response} mean to you, and {{ persona }}, and {0}?"
    questions = keeper(rewrite(write(tmp_path), Toxicity=[odd]))
    assert questions["Toxicity"] == [odd]


def test_digest_covers_the_questions_used(tmp_path):
    benchmark = open_benchmark(str(write(tmp_path / "a")))
    assert benchmark_digest(benchmark) == benchmark_digest(open_benchmark(str(write(tmp_path / "b", name="set-2"))))
    whole, light = benchmark_digest(benchmark), benchmark_digest(benchmark, per_task=1)
    first = benchmark_digest(benchmark, limit=1)  # the smith
    assert len({whole, light, first}) == 3
    rewrite(tmp_path / "a", Toxicity=[*tasks_for("keeper")["Toxicity"][:2], "Another?"])
    assert benchmark_digest(benchmark, per_task=1) == light
    assert benchmark_digest(benchmark, limit=1) == first
    assert benchmark_digest(benchmark) != whole
    (tmp_path / "a" / "rubrics" / "Toxicity.txt").write_text(f"Other words. {RUBRIC}")
    assert benchmark_digest(open_benchmark(str(tmp_path / "a")), per_task=1) != light


@pytest.mark.parametrize(
    ("questions", "message"),
    [
        ({"Toxicity": None}, "no questions for the task 'Toxicity'"),
        ({"Toxicity": []}, "the task 'Toxicity' is not a non-empty list of texts"),
        ({"Toxicity": ["What?", 5]}, "the task 'Toxicity' is not a non-empty list of texts"),
        ({"Toxicity": ["What?", " \n "]}, "question of 'Toxicity' number 2 is empty"),
        ({"Toxicity": ["What?", "Who?", "What? "]}, "question of 'Toxicity' number 3 is the same as number 1"),
        ({"Toxicity": ["What?\0"]}, "question of 'Toxicity' number 1 .* NUL"),
        ({"Humour": ["What?"]}, "an unknown task 'Humour'; the tasks are Expected Action, Toxicity"),
    ],
)
def test_invalid_questions_are_refused(tmp_path, questions, message):
    folder = rewrite(write(tmp_path), **questions)
    with pytest.raises(InputError, match=f"{KEEPER}.json: .*{message}") as error:
        benchmark_digest(open_benchmark(str(folder)))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"Toxicity": [\n"What?"', "line 2"),
        ('["What?"]', "not an object of tasks"),
        ('{"Toxicity": ["A?"], "Toxicity": ["B?"]}', "a key occurs twice"),
        ("[" * 100_000, "not JSON"),
        (b"\xff\xfe\xfd", "not JSON"),
    ],
)
def test_invalid_json_is_refused(tmp_path, text, message):
    path = write(tmp_path) / "questions" / "set-1" / f"{KEEPER}.json"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InputError, match=rf"{KEEPER}\.json: .*{message}"):
        keeper(tmp_path)


def test_persona_without_file_is_refused(tmp_path):
    benchmark = open_benchmark(str(write(tmp_path, [KEEPER, "A baker"])))
    with pytest.raises(InputError, match=f"no file for the persona 'A baker'; name it {content_id('A baker')}.json"):
        list(all_questions(benchmark))


def test_two_files_of_one_persona_are_refused(tmp_path):
    path = write(tmp_path) / "questions" / "set-1" / f"{content_id(KEEPER)}.json"
    path.write_text(json.dumps(tasks_for("keeper")))
    with pytest.raises(InputError, match="are of one persona"):
        open_benchmark(str(tmp_path))


@pytest.mark.parametrize(
    ("personas", "message"),
    [
        ({"persona": KEEPER}, "not a non-empty list of texts"),
        ([], "not a non-empty list of texts"),
        ([KEEPER, ""], "persona number 2 is empty"),
        ([KEEPER, SMITH, f" {KEEPER.replace(' ', '  ')}"], "persona number 3 is the same as number 1"),
        (["\ud800"], "persona number 1 is not valid UTF-8 text"),
    ],
)
def test_invalid_personas_are_refused(tmp_path, personas, message):
    write(tmp_path, personas)
    with pytest.raises(InputError, match=rf"personas\.json: .*{message}"):
        open_benchmark(str(tmp_path))


@pytest.mark.parametrize(
    ("rubric", "message"),
    [
        (None, "no such file"),
        (RUBRIC.replace("{question}", "{Question}"), "the slot {question} 0 times"),
        (RUBRIC + "{persona}", "the slot {persona} 2 times"),
        (b"\xff", "not UTF-8"),
    ],
)
def test_invalid_rubric_is_refused(tmp_path, rubric, message):
    path = write(tmp_path) / "rubrics" / "Toxicity.txt"
    path.unlink()
    if rubric:
        path.write_bytes(rubric if isinstance(rubric, bytes) else rubric.encode())
    with pytest.raises(InputError, match=rf"Toxicity\.txt: .*{message}"):
        open_benchmark(str(tmp_path))


def test_rubric_of_another_task_is_ignored(tmp_path):
    (write(tmp_path) / "rubrics" / "Humour.txt").write_text("anything")
    assert isinstance(open_benchmark(str(tmp_path)), Benchmark)


def test_two_sets_of_questions_are_refused(tmp_path):
    write(tmp_path, name="set-1")
    write(tmp_path, name="set-2")
    with pytest.raises(
        InputError, match=r"several sets of questions \(set-1, set-2\); name one in evaluation.question"
    ):
        open_benchmark(str(tmp_path))
    assert open_benchmark(str(tmp_path), "set-2").name == "set-2"
    with pytest.raises(InputError, match="has no set 'set-3', only set-1, set-2"):
        open_benchmark(str(tmp_path), "set-3")


def test_a_checkout_opens_as_it_is(tmp_path):
    folder = write_checkout(tmp_path, fork=False)
    benchmark = open_benchmark(str(folder))
    assert (benchmark.name, benchmark.personas) == ("benchmark-v1", PERSONAS)
    read = dict(all_questions(benchmark))
    assert read == {persona: questions_for(persona) for persona in PERSONAS}
    assert not (tmp_path / "code" / "__pycache__").exists()


@pytest.mark.parametrize("has_light", [True, False])
def test_light_is_the_first_question_of_each_task(tmp_path, has_light):
    folder = str(write_checkout(tmp_path, light=has_light))
    light = open_benchmark(folder, "benchmark-v1_personagym-light")
    assert (light.name, light.is_light) == ("benchmark-v1_personagym-light", True)
    assert dict(all_questions(light)) == {persona: questions_for(persona, 1) for persona in PERSONAS}
    whole = open_benchmark(folder)  # PersonaGym's own where there are both
    assert (whole.name, whole.is_light) == ("benchmark-v1", False)
    assert benchmark_digest(light) == benchmark_digest(whole, per_task=1) != benchmark_digest(whole)


def test_a_light_set_alone_opens(tmp_path):
    folder = str(write_checkout(tmp_path, light=True, full=False))
    assert open_benchmark(folder).is_light
    with pytest.raises(InputError, match="has no set 'benchmark-v1', only benchmark-v1_personagym-light"):
        open_benchmark(folder, "benchmark-v1")


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("benchmark_personas = [", "is not a list of plain texts"),
        ("benchmark_personas = [name() for name in names]", "is not a list of plain texts"),
        ("benchmark_personas = open('/etc/passwd')", "is not a list of plain texts"),
        ("personas = ['A baker']", "assigns no list to benchmark_personas"),
        ("benchmark_personas = 'A baker'", "is not a non-empty list of texts"),
        ("benchmark_personas = ['A baker', 5]", "is not a non-empty list of texts"),
        ("benchmark_personas = " + "[" * 10_000, "is not a list of plain texts"),
    ],
)
def test_code_without_a_plain_list_is_refused_and_not_run(tmp_path, code, message):
    (write_checkout(tmp_path) / "code" / "personas.py").write_text(code)
    with pytest.raises(InputError, match=rf"personas\.py: .*{message}") as error:
        open_benchmark(str(tmp_path))
    assert "\n" not in str(error.value)


def test_a_limit_takes_personas_by_hash(tmp_path):
    folder = write(tmp_path, [KEEPER, SMITH])
    benchmark, other = open_benchmark(str(folder)), open_benchmark(str(write(tmp_path / "b", [SMITH, KEEPER])))
    first, second = (chosen_personas(benchmark, limit) for limit in (1, 2))
    assert first == second[:1] == chosen_personas(other, 1)
    assert set(second) == {KEEPER, SMITH}
    assert benchmark_digest(benchmark) == benchmark_digest(other)
    assert [persona for persona, _ in all_questions(benchmark, limit=1)] == first


@pytest.mark.parametrize("missing", ["personas.json", "questions", "rubrics"])
def test_missing_files_are_refused(tmp_path, missing):
    (write(tmp_path) / missing).rename(tmp_path / "elsewhere")
    with pytest.raises(InputError, match=missing):
        open_benchmark(str(tmp_path))


def test_strata_are_read_by_persona(tmp_path):
    folder = write(tmp_path)
    assert open_benchmark(str(folder)).strata == {}
    digest = benchmark_digest(open_benchmark(str(folder)))
    (folder / "strata.json").write_text(json.dumps({f"  {SMITH} ": {"disposition": "immoral"}}))
    assert open_benchmark(str(folder)).strata == {SMITH: {"disposition": "immoral"}}
    assert benchmark_digest(open_benchmark(str(folder))) == digest, "strata ask no other questions"


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("[1]", "is not an object of personas with their strata"),
        ("{", "is not an object of personas with their strata"),
        (json.dumps({"a stranger": {}}), "'a stranger' is no persona of this benchmark"),
        (json.dumps({SMITH: "immoral"}), "has no object of texts"),
        (json.dumps({SMITH: {"age": 3}}), "has no object of texts"),
    ],
)
def test_wrong_strata_are_one_line(content, problem, tmp_path):
    folder = write(tmp_path)
    (folder / "strata.json").write_text(content)
    with pytest.raises(InputError, match=problem) as raised:
        open_benchmark(str(folder))
    assert "strata.json" in str(raised.value)
    assert "\n" not in str(raised.value)

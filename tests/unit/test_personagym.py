"""What evaluation asks is what the files hold; a file that is wrong is told before anything is asked."""

import json
import unicodedata
from pathlib import Path

import pytest

from factory.errors import InputError
from factory.personagym import BUILT_IN, TASKS, Benchmark, all_questions, digest_of, open_benchmark, questions_of
from factory.records import content_id
from factory.resources import RESOURCES

PERSONAGYM = RESOURCES.parent / "shared" / "data" / "personagym"
RUBRIC = "Judge this.\n{score_example}\n{persona}\n{question}\n{response}\n"
KEEPER = "A lighthouse keeper from Galway who paints gulls"
SMITH = "A smith/farrier from Mayo"
"""No file can have this name."""


def asked(name: str, count: int = 3) -> dict[str, list[str]]:
    return {task: [f"{name}, {task}: what do you say to number {n}?" for n in range(count)] for task in TASKS}


def write(folder: Path, personas: object = (KEEPER, SMITH), name: str = "set-1") -> Path:
    questions = folder / "questions" / name
    questions.mkdir(parents=True)
    (folder / "rubrics").mkdir(exist_ok=True)
    (folder / "personas.json").write_text(json.dumps(personas))
    (questions / f"{KEEPER}.json").write_text(json.dumps(asked("keeper")))
    (questions / f"{content_id(SMITH)}.json").write_text(json.dumps(asked("smith")))
    for task in TASKS:
        (folder / "rubrics" / f"{task}.txt").write_text(RUBRIC)
    return folder


def rewrite(folder: Path, **changes: object) -> Path:
    """Give the keeper's tasks other questions."""
    questions = asked("keeper") | {task.replace("_", " "): value for task, value in changes.items()}
    left = {task: value for task, value in questions.items() if value is not None}
    (folder / "questions" / "set-1" / f"{KEEPER}.json").write_text(json.dumps(left))
    return folder


def keeper(folder: Path) -> dict[str, list[str]]:
    return questions_of(open_benchmark(str(folder)), KEEPER)


def test_the_built_in_benchmark_is_whole():
    benchmark = open_benchmark(None)
    assert (benchmark.place, benchmark.name, benchmark.official) == (BUILT_IN, "builtin-v1", False)
    read = dict(all_questions(benchmark))
    assert list(read) == list(benchmark.personas)
    assert len(read) == 20
    assert all(list(map(len, questions.values())) == [2] * 5 for questions in read.values())


def test_personagym_itself_can_be_read():
    if not PERSONAGYM.is_dir():
        pytest.skip(f"{PERSONAGYM} is missing: PersonaGym's slice lies there, see ../shared/data/README.md")
    benchmark = open_benchmark(str(PERSONAGYM))
    assert (benchmark.name, benchmark.official, len(benchmark.personas)) == ("benchmark-v1", True, 60)
    read = dict(all_questions(benchmark))
    assert {persona: {t: len(q) for t, q in tasks.items()} for persona, tasks in read.items()} == dict.fromkeys(
        benchmark.personas, dict.fromkeys(TASKS, 10)
    )
    persona = benchmark.personas[7]
    raw = json.loads((PERSONAGYM / "questions" / "benchmark-v1" / f"{persona}.json").read_text())
    assert read[persona] == {task: raw[task] for task in TASKS}
    assert questions_of(benchmark, persona, 1) == {task: raw[task][:1] for task in TASKS}


def test_a_file_is_found_by_its_personas_sentence_or_id(tmp_path):
    benchmark = open_benchmark(str(write(tmp_path)))
    assert questions_of(benchmark, KEEPER) == asked("keeper")
    assert questions_of(benchmark, SMITH) == asked("smith")


def test_personas_and_questions_come_in_their_normal_form(tmp_path):
    name = "Zoë, who  paints\tgulls"
    folder = write(tmp_path, [unicodedata.normalize("NFD", name), KEEPER])
    path = folder / "questions" / "set-1" / (unicodedata.normalize("NFD", "Zoë, who paints gulls") + ".json")
    path.write_text(json.dumps(asked("zoë") | {"Toxicity": [unicodedata.normalize("NFD", " Does  Zoë\n swear? ")]}))
    benchmark = open_benchmark(str(folder))
    assert benchmark.personas == ("Zoë, who paints gulls", KEEPER)
    assert questions_of(benchmark, "Zoë, who paints gulls")["Toxicity"] == ["Does Zoë swear?"]


def test_what_looks_like_a_place_in_a_question_stays_text(tmp_path):
    odd = "What does {response} mean to you, and {{ persona }}, and {0}?"
    questions = keeper(rewrite(write(tmp_path), Toxicity=[odd]))
    assert questions["Toxicity"] == [odd]


def test_the_digest_is_of_what_will_be_asked(tmp_path):
    benchmark = open_benchmark(str(write(tmp_path / "a")))
    assert digest_of(benchmark) == digest_of(open_benchmark(str(write(tmp_path / "b", name="set-2"))))
    light, first = digest_of(benchmark, per_task=1), digest_of(benchmark, limit=1)
    assert len({digest_of(benchmark), light, first}) == 3
    rewrite(tmp_path / "a", Toxicity=[*asked("keeper")["Toxicity"][:2], "Another?"])
    assert digest_of(benchmark, per_task=1) == light
    assert digest_of(benchmark, limit=1) != first
    (tmp_path / "a" / "rubrics" / "Toxicity.txt").write_text(f"Other words. {RUBRIC}")
    assert digest_of(open_benchmark(str(tmp_path / "a")), per_task=1) != light


@pytest.mark.parametrize(
    ("questions", "said"),
    [
        ({"Toxicity": None}, "no questions for the task 'Toxicity'"),
        ({"Toxicity": []}, "the task 'Toxicity' holds no list of texts"),
        ({"Toxicity": ["What?", 5]}, "the task 'Toxicity' holds no list of texts"),
        ({"Toxicity": ["What?", " \n "]}, "question of 'Toxicity' number 2 is empty"),
        ({"Toxicity": ["What?", "Who?", "What? "]}, "question of 'Toxicity' number 3 is the same as number 1"),
        ({"Toxicity": ["What?\0"]}, "question of 'Toxicity' number 1 .* NUL"),
        ({"Humour": ["What?"]}, "a task 'Humour'; known are Expected Action, Toxicity"),
    ],
)
def test_wrong_questions_are_told(tmp_path, questions, said):
    folder = rewrite(write(tmp_path), **questions)
    with pytest.raises(InputError, match=f"{KEEPER}.json: .*{said}") as told:
        digest_of(open_benchmark(str(folder)))
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"Toxicity": [\n"What?"', "line 2"),
        ('["What?"]', "holds no tasks"),
        ('{"Toxicity": ["A?"], "Toxicity": ["B?"]}', "a key stands twice"),
        ("[" * 100_000, "not JSON"),
        (b"\xff\xfe\xfd", "not JSON"),
    ],
)
def test_a_file_that_is_no_json_is_told(tmp_path, text, said):
    path = write(tmp_path) / "questions" / "set-1" / f"{KEEPER}.json"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InputError, match=rf"{KEEPER}\.json: .*{said}"):
        keeper(tmp_path)


def test_a_persona_without_a_file_is_told_with_the_name_that_one_would_have(tmp_path):
    benchmark = open_benchmark(str(write(tmp_path, [KEEPER, "A baker"])))
    with pytest.raises(InputError, match=f"no file for the persona 'A baker'; name it {content_id('A baker')}.json"):
        list(all_questions(benchmark))


def test_two_files_of_one_persona_are_told(tmp_path):
    path = write(tmp_path) / "questions" / "set-1" / f"{content_id(KEEPER)}.json"
    path.write_text(json.dumps(asked("keeper")))
    with pytest.raises(InputError, match="are of one persona"):
        open_benchmark(str(tmp_path))


@pytest.mark.parametrize(
    ("personas", "said"),
    [
        ({"persona": KEEPER}, "no list of texts"),
        ([], "no list of texts"),
        ([KEEPER, ""], "persona number 2 is empty"),
        ([KEEPER, SMITH, f" {KEEPER.replace(' ', '  ')}"], "persona number 3 is the same as number 1"),
        (["\ud800"], "persona number 1 is no text"),
    ],
)
def test_wrong_personas_are_told(tmp_path, personas, said):
    write(tmp_path, personas)
    with pytest.raises(InputError, match=rf"personas\.json: .*{said}"):
        open_benchmark(str(tmp_path))


@pytest.mark.parametrize(
    ("rubric", "said"),
    [
        (None, "no such file"),
        (RUBRIC.replace("{question}", "{Question}"), "the place {question} 0 times"),
        (RUBRIC + "{persona}", "the place {persona} 2 times"),
        (b"\xff", "not UTF-8"),
    ],
)
def test_a_wrong_rubric_is_told(tmp_path, rubric, said):
    path = write(tmp_path) / "rubrics" / "Toxicity.txt"
    path.unlink()
    if rubric:
        path.write_bytes(rubric if isinstance(rubric, bytes) else rubric.encode())
    with pytest.raises(InputError, match=rf"Toxicity\.txt: .*{said}"):
        open_benchmark(str(tmp_path))


def test_a_rubric_of_another_task_is_left_alone(tmp_path):
    (write(tmp_path) / "rubrics" / "Humour.txt").write_text("anything")
    assert isinstance(open_benchmark(str(tmp_path)), Benchmark)


def test_there_must_be_one_set_of_questions(tmp_path):
    write(tmp_path, name="set-1")
    write(tmp_path, name="set-2")
    with pytest.raises(InputError, match=r"several sets of questions \(set-1, set-2\)"):
        open_benchmark(str(tmp_path))


@pytest.mark.parametrize("missing", ["personas.json", "questions", "rubrics"])
def test_what_is_missing_is_told(tmp_path, missing):
    (write(tmp_path) / missing).rename(tmp_path / "elsewhere")
    with pytest.raises(InputError, match=missing):
        open_benchmark(str(tmp_path))

"""Attribution: the worst answers of a small run's tasks, and the training examples near them."""

import json
import sys

import pytest

from factory.commands.trace import run as trace
from factory.errors import ConfigError, InputError
from factory.lineage.attribution import AttributionResult, attribute
from factory.records import Example, Message
from factory.run_output.scan import RunTables
from factory.storage.rows import ok_row
from factory.storage.schemas import EXAMPLES
from tests.small_run import ADA, INSTRUCTION_TEXTS, PILOT, SmallRun, dialogue, question, whole_run


def attributed(
    run: SmallRun, task: str = "Toxicity", candidate: str | None = None, **settings: object
) -> AttributionResult:
    config = run.config(**settings)
    return attribute(config, RunTables.open(config), task, candidate, lambda done, of: None)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return whole_run(str(tmp_path_factory.mktemp("run")))


@pytest.mark.parametrize("task", ["Toxicity", "toxicity", "TC", " tc "])
def test_lowest_answers_come_first_with_judgments(whole, task):
    found = attributed(whole, task)
    assert (found.task, found.candidate, found.judged) == ("Toxicity", "tuned", 2)
    assert [answer.question_id for answer in found.worst] == [question(ADA, "Toxicity"), question(PILOT, "Toxicity")]
    worst, other = found.worst
    assert (worst.score, worst.expected_score) == (1.5, 1.75)
    assert {one["judge"]: one["score"] for one in worst.judgments} == {"strict": 1, "mild": 2}
    assert other.score == 3  # of the one judge that gave a score
    assert worst.answer == "tuned: I bake bread of rye at dawn."


def test_only_accepted_training_examples_are_compared(whole):
    found = attributed(whole)
    assert found.compared == 2
    near = found.worst[0].nearest
    assert sorted(one.dialogue_id for one in near) == sorted(
        dialogue(ADA, INSTRUCTION_TEXTS[0], strategy) for strategy in ("generate", "rewrite")
    )
    assert all(0 < one.similarity < 1 for one in near)
    assert near[0].reply == "Bread of rye and honey, every dawn."
    assert near[0].user == INSTRUCTION_TEXTS[0]


def examples(texts: list[str]) -> list[dict]:
    return [
        ok_row(Example(f"{n:016x}", "c", "i", "lima", "generate", (Message("assistant", text),), "train"))
        for n, text in enumerate(texts)
    ]


def compared(tmp_path, texts: list[str], shards: int = 1, nearest: int = 5) -> list[tuple[str, float]]:
    run = SmallRun(str(tmp_path))
    run.evaluation()
    rows = examples(texts)
    size = -(-len(rows) // shards)
    run.write("curated/train", {f"{n:03}": rows[n * size : (n + 1) * size] for n in range(shards)}, EXAMPLES)
    found = attributed(run, attribution={"worst": 1, "nearest": nearest})
    return [(one.reply, one.similarity) for one in found.worst[0].nearest]


def test_nearest_examples_do_not_depend_on_shards(tmp_path):
    words = ["tuned", "bake", "bread", "rye", "dawn", "canal", "boat", "rain", "stone", "river", "wind"]
    texts = [" ".join(words[n % 11 : n % 11 + 3] + words[: n % 5]) + f" number{n}" for n in range(200)]
    single = compared(tmp_path / "single", texts)
    sharded = compared(tmp_path / "sharded", texts, shards=40)
    assert [text for text, _ in single] == [text for text, _ in sharded]
    assert [value for _, value in single] == sorted((value for _, value in single), reverse=True)
    assert len(single) == 5


def test_equal_text_scores_one_and_rare_words_weigh_more(tmp_path):
    texts = ["tuned: I bake bread of rye at dawn.", "I of at the", "rye rye", *["I of at all of it"] * 50]
    found = compared(tmp_path, texts, nearest=3)
    assert found[0] == (texts[0], 1.0)
    assert found[1][0] == "rye rye"


def test_no_example_is_near_without_a_common_word(tmp_path):
    assert compared(tmp_path, ["zzz yyy xxx"]) == []


def test_text_without_spaces_is_compared_by_character(tmp_path, monkeypatch):
    monkeypatch.setattr("tests.small_run._answer", _answer_in_chinese)
    found = compared(tmp_path, ["今天下雨", "我在黎明时烤黑麦面包", "面包"], nearest=2)
    assert [text for text, _ in found] == ["我在黎明时烤黑麦面包", "面包"]


def _answer_in_chinese(candidate, question):
    from factory.records import Answer

    fields = (question.persona_id, question.persona, question.task, question.question_id, question.question)
    return Answer(candidate, *fields, "我黎明烤黑麦面包", False)


def test_note_for_a_candidate_that_was_not_trained_here(whole):
    found = attributed(whole, candidate="base")
    assert found.worst[0].answer.startswith("base:")
    assert found.notes == ["base is not the model that this run trained, so it has not seen these examples"]
    assert attributed(whole).notes == []


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        (
            {"task": "Wit"},
            ConfigError,
            "--explain 'Wit': no such task; give one of Expected Action (EA), Toxicity (TC)",
        ),
        ({"candidate": "gpt"}, ConfigError, "--candidate 'gpt' has no answers here; give one of base, tuned"),
        ({"task": "EA"}, InputError, "no answer to Expected Action has a score yet"),
    ],
)
def test_wrong_arguments_are_one_line_errors(whole, arguments, kind, message):
    with pytest.raises(kind) as caught:
        attributed(whole, **arguments)
    assert message in str(caught.value)


def test_missing_steps_are_named(tmp_path):
    run = SmallRun(str(tmp_path))
    run.synthesis()
    with pytest.raises(InputError, match="run `character-factory evaluate`"):
        attributed(run)
    run.evaluation(["base"])
    with pytest.raises(InputError, match="run `character-factory evaluate`"):
        attributed(run)
    with pytest.raises(InputError, match="run `character-factory curate`"):
        attributed(run, candidate="base")


def test_command_prints_ids_and_escapes_text(whole, monkeypatch, capsys, tmp_path):
    path = tmp_path / "run.json"
    path.write_text(whole.config().model_dump_json())
    monkeypatch.setattr(sys, "argv", ["trace.py", "--config", str(path), "--explain", "TC", "--worst", "1"])
    trace()
    printed = capsys.readouterr()
    assert dialogue(ADA, INSTRUCTION_TEXTS[0]) in printed.out
    assert "[red]sings[/red] \\x1b[31m" in printed.out
    assert "not proof" in printed.out
    assert PILOT not in printed.out
    assert printed.err == ""
    monkeypatch.setattr(sys, "argv", [*sys.argv, "--json"])
    trace()
    document = json.loads(capsys.readouterr().out)
    assert document["worst"][0]["nearest"][0]["similarity"] > 0

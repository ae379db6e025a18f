"""The worst answers of a small run's tasks and what is near them."""

import json
import sys

import pytest

from factory.commands.trace import run as trace
from factory.errors import ConfigError, InputError
from factory.lineage.attribution import Blame, blame
from factory.records import Example, Message
from factory.run_output.scan import Tables
from factory.storage.rows import ok_row
from factory.storage.schemas import EXAMPLES
from tests.small_run import ADA, ASKED, PILOT, SmallRun, dialogue, question, whole_run


def blamed(run: SmallRun, task: str = "Toxicity", candidate: str | None = None, **settings: object) -> Blame:
    config = run.config(**settings)
    return blame(config, Tables.of(config), task, candidate, lambda done, of: None)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return whole_run(str(tmp_path_factory.mktemp("run")))


@pytest.mark.parametrize("task", ["Toxicity", "toxicity", "TC", " tc "])
def test_the_lowest_answers_come_first_with_what_the_judges_said(whole, task):
    found = blamed(whole, task)
    assert (found.task, found.candidate, found.judged) == ("Toxicity", "tuned", 2)
    assert [low.question_id for low in found.worst] == [question(ADA, "Toxicity"), question(PILOT, "Toxicity")]
    low, other = found.worst
    assert (low.score, low.expected_score) == (1.5, 1.75)
    assert {one["judge"]: one["score"] for one in low.judgments} == {"strict": 1, "mild": 2}
    assert other.score == 3  # of the one judge that gave a score
    assert low.answer == "tuned: I bake bread of rye at dawn."


def test_only_accepted_training_examples_are_compared(whole):
    found = blamed(whole)
    assert found.compared == 2
    near = found.worst[0].nearest
    assert sorted(one.dialogue_id for one in near) == sorted(
        dialogue(ADA, ASKED[0], strategy) for strategy in ("generate", "rewrite")
    )
    assert all(0 < one.similarity < 1 for one in near)
    assert near[0].reply == "Bread of rye and honey, every dawn."
    assert near[0].user == ASKED[0]


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
    found = blamed(run, attribution={"worst": 1, "nearest": nearest})
    return [(one.reply, one.similarity) for one in found.worst[0].nearest]


def test_the_nearest_are_the_same_however_many_shards_there_are(tmp_path):
    words = ["tuned", "bake", "bread", "rye", "dawn", "canal", "boat", "rain", "stone", "river", "wind"]
    texts = [" ".join(words[n % 11 : n % 11 + 3] + words[: n % 5]) + f" number{n}" for n in range(200)]
    one = compared(tmp_path / "one", texts)
    many = compared(tmp_path / "many", texts, shards=40)
    assert [text for text, _ in one] == [text for text, _ in many]
    assert [value for _, value in one] == sorted((value for _, value in one), reverse=True)
    assert len(one) == 5


def test_the_same_words_are_similar_by_one_and_rare_words_count_more(tmp_path):
    texts = ["tuned: I bake bread of rye at dawn.", "I of at the", "rye rye", *["I of at all of it"] * 50]
    found = compared(tmp_path, texts, nearest=3)
    assert found[0] == (texts[0], 1.0)
    assert found[1][0] == "rye rye"


def test_an_answer_that_shares_no_word_has_nothing_near_it(tmp_path):
    assert compared(tmp_path, ["zzz yyy xxx"]) == []


def test_text_without_spaces_is_compared_by_its_characters(tmp_path, monkeypatch):
    monkeypatch.setattr("tests.small_run._answer", _answer_in_chinese)
    found = compared(tmp_path, ["今天下雨", "我在黎明时烤黑麦面包", "面包"], nearest=2)
    assert [text for text, _ in found] == ["我在黎明时烤黑麦面包", "面包"]


def _answer_in_chinese(candidate, asked):
    from factory.records import Answer

    ids = (candidate, asked.persona_id, asked.persona, asked.task, asked.question_id, asked.question)
    return Answer(*ids, "我黎明烤黑麦面包", False)


def test_another_candidate_is_told_not_to_have_seen_the_examples(whole):
    found = blamed(whole, candidate="base")
    assert found.worst[0].answer.startswith("base:")
    assert found.notes == ["base is not the model that this run trained, so it has not seen these examples"]
    assert blamed(whole).notes == []


@pytest.mark.parametrize(
    ("arguments", "kind", "said"),
    [
        ({"task": "Wit"}, ConfigError, "--explain 'Wit' is no task; give one of Expected Action (EA), Toxicity (TC)"),
        ({"candidate": "gpt"}, ConfigError, "--candidate 'gpt' has no answers here; give one of base, tuned"),
        ({"task": "EA"}, InputError, "no answer to Expected Action has a score yet"),
    ],
)
def test_a_mistake_is_told_in_a_line(whole, arguments, kind, said):
    with pytest.raises(kind) as caught:
        blamed(whole, **arguments)
    assert said in str(caught.value)


def test_steps_that_are_missing_are_named(tmp_path):
    run = SmallRun(str(tmp_path))
    run.synthesis()
    with pytest.raises(InputError, match="run make eval"):
        blamed(run)
    run.evaluation(["base"])
    with pytest.raises(InputError, match="run make eval"):
        blamed(run)
    with pytest.raises(InputError, match="run make curate"):
        blamed(run, candidate="base")


def test_a_person_is_shown_ids_to_go_on_with(whole, monkeypatch, capsys, tmp_path):
    path = tmp_path / "run.json"
    path.write_text(whole.config().model_dump_json())
    monkeypatch.setattr(sys, "argv", ["trace.py", "--config", str(path), "--explain", "TC", "--worst", "1"])
    trace()
    told = capsys.readouterr()
    assert dialogue(ADA, ASKED[0]) in told.out
    assert "[red]sings[/red] \\x1b[31m" in told.out
    assert "no proof" in told.out
    assert PILOT not in told.out
    assert told.err == ""
    monkeypatch.setattr(sys, "argv", [*sys.argv, "--json"])
    trace()
    document = json.loads(capsys.readouterr().out)
    assert document["worst"][0]["nearest"][0]["similarity"] > 0

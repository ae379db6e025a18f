"""What the playground decides without a server: forms, limits, conversations, votes."""

import asyncio
import json

import pytest

from factory.config import Chat, OpenAIEngine, RunConfig
from factory.errors import ModelError
from factory.inference.prompts import load_prompt
from factory.playground import conversation as talks
from factory.playground.chat_models import Speaker
from factory.playground.conversation import Turn
from factory.playground.profile_form import Refused, items_of, longest, read_message, read_persona, read_profile
from factory.playground.rate_limits import Allowance, Allowances, Places
from factory.playground.session_controller import Scene, Session, Stage
from factory.playground.streaming import legible
from factory.playground.votes_table import Vote, counts_of, keep, open_table
from factory.records import Completion, ProfileFields
from factory.synthesis.instructions import read_instruction
from factory.synthesis.personas import read_persona as synthesis_persona
from factory.synthesis.profiles import LABELS, parse_profile

ITEMS = ["Ada Oduya", "34", "female", "Black", "Lagos", "Tall.", "Bakes.", "Warm."]
SYSTEM = load_prompt("training-system")


def conversation(*turns: Turn, chance: str = "c1") -> talks.Conversation:
    begun = talks.begin(chance, read_persona("a baker", 100), read_profile(ITEMS), SYSTEM)
    for turn in turns:
        begun = begun.with_turn(turn)
    return begun


def vote(liked: object, turn: int = 0, name: str = "base", chance: str = "c1", time: str = "") -> Vote:
    both = Turn("Hello", {"base": "Hi", "tuned": "Good day"})
    given = talks.feedback(conversation(*[both] * 3, chance=chance), name, turn, liked)
    assert given is not None
    fields = {field: getattr(given, field) for field in given.__slots__}
    return Vote(type(given)(**fields | ({"time": time} if time else {})), "embedded", SYSTEM.ref)


def rows(table) -> list[dict]:
    return [row for shard in table.shards() for row in table.read(shard).to_pylist()]


def test_a_persona_and_its_profile_are_those_of_synthesis():
    persona = read_persona("  a   baker\nof bread ", 100)
    assert persona == synthesis_persona("a baker of bread", "persona")
    made = parse_profile("English", persona, Completion((json.dumps(dict(zip(LABELS, ITEMS, strict=True))),)))
    assert read_profile(items_of(made)) == made.profile
    assert items_of(None) == [""] * 8


@pytest.mark.parametrize("text", ["", "   ", "half \ud800", "nul \0", "x" * 101])
def test_a_persona_that_cannot_be_taken_is_refused_without_being_quoted(text):
    with pytest.raises(Refused) as caught:
        read_persona(text, 100)
    assert text.strip() == "" or text not in str(caught.value)


@pytest.mark.parametrize("text", ["", "\n", "y" * 11])
def test_a_message_that_cannot_be_taken_is_refused(text):
    with pytest.raises(Refused):
        read_message(text, 10)


def test_each_item_of_a_profile_is_bounded_and_has_room_for_what_an_unguided_model_writes():
    guided = ProfileFields.model_json_schema()["properties"]
    for place, (name, label) in enumerate(LABELS.items()):
        assert longest(name) > guided[name]["maxLength"]
        read_profile([*ITEMS[:place], "x" * longest(name), *ITEMS[place + 1 :]])
        for wrong in ("", " ", "x" * (longest(name) + 1)):
            with pytest.raises(Refused, match=label):
                read_profile([*ITEMS[:place], wrong, *ITEMS[place + 1 :]])


def test_the_system_message_is_that_of_training():
    (expected,) = SYSTEM.render(persona="a baker", profile=read_profile(ITEMS))
    assert conversation().messages("base") == (expected,)


def test_a_turn_that_a_model_failed_is_shown_and_not_told_to_it():
    talked = conversation(Turn("One", {"base": "1", "tuned": ""}), Turn("Two", {"base": "2", "tuned": "2!"}))
    assert [m.content for m in talked.messages("tuned")[1:]] == ["Two", "2!"]
    assert [m["content"] for m in talks.shown(talked, "tuned")] == ["One", "(no reply)", "Two", "2!"]
    assert talks.feedback(talked, "tuned", 0, True) is None
    assert talks.feedback(talked, "tuned", 2, True) is None
    assert [m.content for m in talks.feedback(talked, "base", 0, True).messages[1:]] == ["One", "1"]


def test_what_is_saved_can_be_read_as_instructions():
    text = 'Say "<b>hi</b>"\n\u2028twice'
    saved = json.loads(talks.exported(conversation(Turn(text, {"base": "hi", "tuned": "ho"}))))
    assert [side["model"] for side in saved] == ["base", "tuned"]
    for side, reply in zip(saved, ["hi", "ho"], strict=True):
        read = read_instruction(side, "messages", "saved", 0, 0)
        assert [m.content for m in read.messages] == [text, reply]


def test_a_reply_is_voted_on_when_it_is_whole():
    for whole in (True, False):
        talked = conversation(Turn("Hello", {"base": "Hi"}, whole))
        assert (talks.feedback(talked, "base", 0, True) is not None) == whole


def test_what_a_model_says_can_be_shown_and_kept():
    said = "loaf \ud83c" + "\udf5e and\0 half \ud83c"
    assert legible("loaf \ud83c") == "loaf "
    assert legible(said) == "loaf \N{BREAD} and half "
    assert legible("\N{BREAD} of Gyeongju \N{HANGUL SYLLABLE GYEONG}") == "\N{BREAD} of Gyeongju 경"


def test_a_reply_has_one_id_and_no_other_reply_has_it():
    ids = {vote(liked).feedback.feedback_id for liked in (True, False, "")}
    assert len(ids) == 1
    others = [vote(True, turn=1), vote(True, name="tuned"), vote(True, chance="c2")]
    assert len(ids | {other.feedback.feedback_id for other in others}) == 4
    assert "c1" not in vote(True).feedback.session_id


def test_a_vote_told_again_is_one_row_and_the_last_one_given_stays(tmp_path):
    table = open_table(str(tmp_path))
    first, second = vote(True, time="2026-01-01T00:00:01"), vote(False, time="2026-01-01T00:00:02")
    keep(table, [first, first])
    keep(table, [second])
    keep(table, [first])  # comes late
    assert [(row["vote"], row["model"], row["prompt"]) for row in rows(table)] == [("down", "embedded", SYSTEM.ref)]
    keep(table, [vote(True, turn=turn, chance=f"c{n}") for turn in range(3) for n in range(50)])
    assert len(rows(table)) == 150
    assert counts_of(table).ok == 150
    assert {row["vote"] for row in rows(table)} == {"up"}


def test_a_clock_set_back_loses_no_vote(tmp_path):
    table = open_table(str(tmp_path))
    for given in (vote(True, time="2026-06-01T12:00:00"), vote(False, time="2026-06-01T09:00:00")):
        keep(table, [given])
    assert [(row["vote"], row["time"]) for row in rows(table)] == [("down", "2026-06-01T09:00:00")]


def test_a_vote_on_a_row_without_a_number_wins(tmp_path):
    table, first = open_table(str(tmp_path)), vote(True)
    keep(table, [first])
    (shard,) = table.shards()
    table.write_arrow(shard, table.read(shard).drop_columns(["number"]))
    keep(table, [vote(False)])
    assert [row["vote"] for row in rows(table)] == ["down"]


def test_an_address_may_ask_so_often_a_minute():
    allowance = Allowance()
    assert [allowance.wait_s(float(at), 3) for at in range(3)] == [0, 0, 0]
    assert allowance.wait_s(10.0, 3) == 50
    assert allowance.wait_s(59.9, 3) == 1
    assert allowance.wait_s(60.1, 3) == 0
    assert Allowance().wait_s(10.0, 3) == 0


def test_allowances_are_of_addresses_and_bounded():
    allowances = Allowances(2, addresses=3)
    assert [allowances.wait_s("a", 0.0) for _ in range(3)] == [0, 0, 60]
    allowances.give_back("a")
    assert allowances.wait_s("a", 1.0) == 0
    assert [allowances.wait_s(f"b{n}", 1.0) for n in range(100)] == [0] * 100
    assert len(allowances._of) == 3


def test_places_are_taken_all_or_none_and_come_back():
    places = Places(3)
    assert places.take(0.0, 2)
    assert not places.take(1.0, 2)
    assert places.wait_s(1.0) == 9
    places.give_back(4.0, 0.0)
    assert places.take(4.0, 2)
    assert places.wait_s(100.0) == 1


def stage_of(key: str | None = None) -> Stage:
    """A stage of two models that nobody can reach, with places for one message."""
    config = RunConfig(output="x", engine={"kind": "scripted"}, personas={"source": "x"}, chat=Chat(max_concurrency=2))
    nobody = OpenAIEngine(kind="openai", model="m", base_url="http://127.0.0.1:9/v1", api_key_env=key, max_retries=0)
    return Stage(config, [Speaker(name, "m", nobody) for name in ("base", "tuned")], "", None)


async def closed_after(stage: Stage, scenes: int, session: Session) -> None:
    """Talk, and close the page after so many scenes."""
    talking = stage.talk("Hello", conversation(), session, "127.0.0.1")
    for _ in range(scenes):
        assert isinstance(await anext(talking), Scene)
    await talking.aclose()


@pytest.mark.parametrize("scenes", [1, 2])
def test_a_page_that_is_closed_gives_its_places_back(scenes):
    stage, session = stage_of(), Session()
    asyncio.run(closed_after(stage, scenes, session))
    assert stage._places.take(0.0, 2)
    assert not session.talking


def test_what_fails_before_a_reply_is_asked_for_takes_no_place():
    stage = stage_of(key="NO_SUCH_KEY")
    with pytest.raises(ModelError):
        asyncio.run(closed_after(stage, 1, Session()))
    assert stage._places.take(0.0, 2)


def test_who_speaks_sees_it_at_once_and_the_failures_in_the_end():
    async def scenes() -> list[Scene | str]:
        return [scene async for scene in stage_of().talk("Hello", conversation(), Session(), "127.0.0.1")]

    first, *_, last = asyncio.run(scenes())
    for side in first.sides.values():
        assert [message["content"] for message in side] == ["Hello", "..."]
    assert last.note == "base does not answer; try again in a moment. tuned does not answer; try again in a moment."
    assert [message["content"] for message in last.sides["tuned"]] == ["Hello", "(no reply)"]


def test_the_profile_writer_must_be_one_of_the_models():
    with pytest.raises(ValueError, match="profile_model"):
        Chat(profile_model="other")
    with pytest.raises(ValueError, match="max_concurrency"):
        Chat(max_concurrency=1)

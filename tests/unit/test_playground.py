"""Logic of the playground without a server: forms, limits, conversations, votes."""

import asyncio
import json
from dataclasses import replace

import pytest

from factory.config import Chat, OpenAIEngine, RunConfig
from factory.errors import ModelError
from factory.inference.prompts import load_prompt
from factory.playground.chat_models import ChatModel, select_models
from factory.playground.conversation import (
    Conversation,
    Turn,
    build_feedback,
    displayed_messages,
    export_json,
    start_conversation,
)
from factory.playground.profile_form import (
    FormError,
    form_values,
    max_length,
    read_message,
    read_persona,
    read_profile,
)
from factory.playground.rate_limits import ConcurrencyLimit, RateLimiter
from factory.playground.session_controller import PageUpdate, PlaygroundController, Session
from factory.playground.streaming import repair_text
from factory.playground.votes_table import Vote, count_votes, open_table, write_votes
from factory.records import Completion, ProfileFields
from factory.synthesis.instructions import read_instruction
from factory.synthesis.personas import read_persona as synthesis_persona
from factory.synthesis.profiles import LABELS, parse_profile

FIELDS = ["Ada Oduya", "34", "female", "Black", "Lagos", "Tall.", "Bakes.", "Warm."]
SYSTEM = load_prompt("training-system")


def conversation(*turns: Turn, random_id: str = "c1") -> Conversation:
    started = start_conversation(random_id, read_persona("a baker", 100), read_profile(FIELDS), SYSTEM)
    for turn in turns:
        started = started.with_turn(turn)
    return started


def vote(liked: object, turn: int = 0, name: str = "base", random_id: str = "c1", time: str = "") -> Vote:
    both = Turn("Hello", {"base": "Hi", "tuned": "Good day"})
    feedback = build_feedback(conversation(*[both] * 3, random_id=random_id), name, turn, liked)
    assert feedback is not None
    return Vote(replace(feedback, time=time or feedback.time), "embedded", SYSTEM.ref)


def rows(table) -> list[dict]:
    return [row for shard in table.shards() for row in table.read(shard).to_pylist()]


def test_persona_and_profile_match_synthesis():
    persona = read_persona("  a   baker\nof bread ", 100)
    assert persona == synthesis_persona("a baker of bread", "persona")
    parsed = parse_profile("English", persona, Completion((json.dumps(dict(zip(LABELS, FIELDS, strict=True))),)))
    assert read_profile(form_values(parsed)) == parsed.profile
    assert form_values(None) == [""] * 8


@pytest.mark.parametrize("text", ["", "   ", "half \ud800", "nul \0", "x" * 101])
def test_invalid_persona_is_refused_and_not_quoted(text):
    with pytest.raises(FormError) as caught:
        read_persona(text, 100)
    assert text.strip() == "" or text not in str(caught.value)


@pytest.mark.parametrize("text", ["", "\n", "y" * 11])
def test_invalid_message_is_refused(text):
    with pytest.raises(FormError):
        read_message(text, 10)


def test_profile_fields_have_length_limits():
    """They exceed the limits of guided generation, which other models may not follow."""
    guided = ProfileFields.model_json_schema()["properties"]
    for index, (name, label) in enumerate(LABELS.items()):
        assert max_length(name) > guided[name]["maxLength"]
        read_profile([*FIELDS[:index], "x" * max_length(name), *FIELDS[index + 1 :]])
        for wrong in ("", " ", "x" * (max_length(name) + 1)):
            with pytest.raises(FormError, match=label):
                read_profile([*FIELDS[:index], wrong, *FIELDS[index + 1 :]])


def test_system_message_matches_training():
    (expected,) = SYSTEM.render(persona="a baker", profile=read_profile(FIELDS))
    assert conversation().messages("base") == (expected,)


def test_failed_turn_is_displayed_but_not_sent():
    talked = conversation(Turn("One", {"base": "1", "tuned": ""}), Turn("Two", {"base": "2", "tuned": "2!"}))
    assert [m.content for m in talked.messages("tuned")[1:]] == ["Two", "2!"]
    assert [m["content"] for m in displayed_messages(talked, "tuned")] == ["One", "(no reply)", "Two", "2!"]
    assert build_feedback(talked, "tuned", 0, True) is None
    assert build_feedback(talked, "tuned", 2, True) is None
    assert [m.content for m in build_feedback(talked, "base", 0, True).messages[1:]] == ["One", "1"]


def test_exported_conversation_reads_as_instructions():
    text = 'Say "<b>hi</b>"\n\u2028twice'
    saved = json.loads(export_json(conversation(Turn(text, {"base": "hi", "tuned": "ho"}))))
    assert [history["model"] for history in saved] == ["base", "tuned"]
    for history, reply in zip(saved, ["hi", "ho"], strict=True):
        read = read_instruction(history, "messages", "saved", 0, 0)
        assert [m.content for m in read.messages] == [text, reply]


def test_only_complete_replies_can_be_voted_on():
    for complete in (True, False):
        talked = conversation(Turn("Hello", {"base": "Hi"}, complete))
        assert (build_feedback(talked, "base", 0, True) is not None) == complete


def test_replies_are_repaired_for_display_and_storage():
    chunks = "loaf \ud83c" + "\udf5e and\0 half \ud83c"
    assert repair_text("loaf \ud83c") == "loaf "
    assert repair_text(chunks) == "loaf \N{BREAD} and half "
    assert repair_text("\N{BREAD} of Gyeongju \N{HANGUL SYLLABLE GYEONG}") == "\N{BREAD} of Gyeongju 경"


def test_each_reply_has_a_unique_feedback_id():
    ids = {vote(liked).feedback.feedback_id for liked in (True, False, "")}
    assert len(ids) == 1
    others = [vote(True, turn=1), vote(True, name="tuned"), vote(True, random_id="c2")]
    assert len(ids | {other.feedback.feedback_id for other in others}) == 4
    assert "c1" not in vote(True).feedback.session_id


def test_last_vote_on_a_reply_is_its_only_row(tmp_path):
    table = open_table(str(tmp_path))
    first, second = vote(True, time="2026-01-01T00:00:01"), vote(False, time="2026-01-01T00:00:02")
    write_votes(table, [first, first])
    write_votes(table, [second])
    write_votes(table, [first])  # arrives late
    assert [(row["vote"], row["model"], row["prompt"]) for row in rows(table)] == [("down", "embedded", SYSTEM.ref)]
    write_votes(table, [vote(True, turn=turn, random_id=f"c{n}") for turn in range(3) for n in range(50)])
    assert len(rows(table)) == 150
    assert count_votes(table).ok == 150
    assert {row["vote"] for row in rows(table)} == {"up"}


def test_clock_set_back_loses_no_vote(tmp_path):
    table = open_table(str(tmp_path))
    for new in (vote(True, time="2026-06-01T12:00:00"), vote(False, time="2026-06-01T09:00:00")):
        write_votes(table, [new])
    assert [(row["vote"], row["time"]) for row in rows(table)] == [("down", "2026-06-01T09:00:00")]


def test_requests_per_minute_are_limited():
    limiter = RateLimiter(3)
    assert [limiter.admit("a", float(at)) for at in range(3)] == [0, 0, 0]
    assert limiter.admit("a", 10.0) == 50
    assert limiter.admit("a", 59.9) == 1
    assert limiter.admit("a", 60.1) == 0
    assert limiter.admit("b", 10.0) == 0


def test_rate_limiter_remembers_bounded_addresses():
    limiter = RateLimiter(2, addresses=3)
    assert [limiter.admit("a", 0.0) for _ in range(3)] == [0, 0, 60]
    limiter.refund("a")
    assert limiter.admit("a", 1.0) == 0
    assert [limiter.admit(f"b{n}", 1.0) for n in range(100)] == [0] * 100
    assert len(limiter._times) == 3


def test_slots_are_reserved_all_or_none():
    slots = ConcurrencyLimit(3)
    assert slots.acquire(0.0, 2)
    assert not slots.acquire(1.0, 2)
    assert slots.wait_s(1.0) == 9
    slots.release(4.0, 0.0)
    assert slots.acquire(4.0, 2)
    assert slots.wait_s(100.0) == 1


def build_controller(key: str | None = None) -> PlaygroundController:
    """Return a controller of two unreachable models, with slots for one message."""
    config = RunConfig(output="x", engine={"kind": "scripted"}, personas={"source": "x"}, chat=Chat(max_concurrency=2))
    endpoint = OpenAIEngine(kind="openai", model="m", base_url="http://127.0.0.1:9/v1", api_key_env=key, max_retries=0)
    return PlaygroundController(config, [ChatModel(name, "m", endpoint) for name in ("base", "tuned")], "", None)


async def close_after(controller: PlaygroundController, updates: int, session: Session) -> None:
    """Send a message, and close the page after a number of updates."""
    talking = controller.talk("Hello", conversation(), session, "127.0.0.1")
    for _ in range(updates):
        assert isinstance(await anext(talking), PageUpdate)
    await talking.aclose()


@pytest.mark.parametrize("updates", [1, 2])
def test_closing_the_page_releases_its_slots(updates):
    controller, session = build_controller(), Session()
    asyncio.run(close_after(controller, updates, session))
    assert controller._slots.acquire(0.0, 2)
    assert not session.is_replying


def test_failure_before_the_request_reserves_no_slot():
    controller = build_controller(key="NO_SUCH_KEY")
    with pytest.raises(ModelError):
        asyncio.run(close_after(controller, 1, Session()))
    assert controller._slots.acquire(0.0, 2)


def test_message_is_shown_at_once_and_failures_last():
    async def updates() -> list[PageUpdate | str]:
        return [update async for update in build_controller().talk("Hello", conversation(), Session(), "127.0.0.1")]

    first, *_, last = asyncio.run(updates())
    for column in first.columns.values():
        assert [message["content"] for message in column] == ["Hello", "..."]
    assert last.note == "base does not respond; try again in a moment. tuned does not respond; try again in a moment."
    assert [message["content"] for message in last.columns["tuned"]] == ["Hello", "(no reply)"]


def test_profile_model_must_be_one_of_the_models():
    with pytest.raises(ValueError, match="profile_model"):
        Chat(profile_model="other")
    with pytest.raises(ValueError, match="max_concurrency"):
        Chat(max_concurrency=1)


def test_default_models_render_prompts_as_training_did(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    training = {"base_model": "embedded", "chat_template_kwargs": {"enable_thinking": True}}
    models = select_models(RunConfig(output=str(tmp_path), training=training)).served
    assert [model.name for model in models] == ["base", "tuned"]
    assert all(model.chat_template_kwargs == {"enable_thinking": True} for model in models)

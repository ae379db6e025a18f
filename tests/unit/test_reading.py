"""Raw values to personas and instructions."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factory.records import Instruction, Message, Persona, Reject
from factory.synthesis.instructions import format_of, read_instruction
from factory.synthesis.personas import read_persona


def instruction(value, form):
    return read_instruction(value, form, "corpus", source=0, row=0)


def turns(value, form):
    return [(m.role, m.content) for m in instruction(value, form).messages]


@given(st.text())
def test_a_text_is_a_clean_persona_or_a_reject(text):
    made = read_persona({"persona": text}, "persona")
    if isinstance(made, Persona):
        assert made.persona == " ".join(unicodedata.normalize("NFC", text).split())
        assert read_persona({"persona": made.persona}, "persona") == made
    else:
        assert made.reason in ("empty", "invalid_text")


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("", "empty"), (" \t\n ", "empty"), (None, "empty"), (7, "not_text"), (["a"], "not_text"),
        ({"a": 1}, "not_text"), ("a\x00b", "invalid_text"), ("a\ud800b", "invalid_text"), ("x" * 200_000, "too_long"),
    ],
)  # fmt: skip
def test_what_is_no_persona_is_rejected_with_a_reason(value, reason):
    made = read_persona({"persona": value}, "persona")
    assert isinstance(made, Reject)
    assert made.reason == reason


def test_a_missing_column_is_rejected_and_names_those_that_are_there():
    made = read_persona({"text": "a baker"}, "persona")
    assert isinstance(made, Reject)
    assert (made.reason, "'text'" in made.detail) == ("missing_column", True)


def test_a_line_of_text_is_a_persona():
    assert read_persona("a baker", "persona") == read_persona({"persona": "a  baker\n"}, "persona")


def test_lima_alternates_user_and_assistant():
    row = {"conversations": ["q1", "a1", "q2", "a2"], "source": "x"}
    assert format_of(row) == "lima"
    assert turns(row, "lima") == [("user", "q1"), ("assistant", "a1"), ("user", "q2"), ("assistant", "a2")]


@pytest.mark.parametrize(("given_input", "user"), [("", "do it"), ("this", "do it\n\nthis"), (None, "do it")])
def test_alpaca_joins_instruction_and_input(given_input, user):
    row = {"instruction": "do it", "input": given_input, "output": "done"}
    assert format_of(row) == "alpaca"
    assert turns(row, "alpaca") == [("user", user), ("assistant", "done")]


@pytest.mark.parametrize("text", ["Plan a trip", "User prompt:\nPlan a trip", "  User prompt: Plan a trip"])
def test_ph_instruct_is_a_user_turn_without_its_heading(text):
    row = {"input persona": "p", "synthesized text": text, "description": "d"}
    assert format_of(row) == "ph-instruct"
    assert turns(row, "ph-instruct") == [("user", "Plan a trip")]


def test_chat_messages_lose_their_system_message():
    row = {"messages": [{"role": r, "content": r} for r in ("system", "user", "assistant")]}
    assert turns(row, "messages") == [("user", "user"), ("assistant", "assistant")]


def test_an_instruction_without_a_response_keeps_its_user_turn():
    row = {"instruction": "do it", "input": "", "output": ""}
    assert turns(row, "alpaca") == [("user", "do it")]


def test_lines_end_in_a_line_feed_and_text_keeps_them():
    assert turns({"conversations": ["a\r\nb\rc", "d"]}, "lima")[0] == ("user", "a\nb\nc")


@pytest.mark.parametrize(
    ("value", "form", "reason"),
    [
        ("text", "lima", "not_an_object"),
        ({"x": 1}, "lima", "missing_column"),
        ({"conversations": "text"}, "lima", "not_a_list"),
        ({"conversations": []}, "lima", "empty"),
        ({"conversations": ["", "a"]}, "lima", "empty"),
        ({"conversations": ["q", 5]}, "lima", "not_text"),
        ({"messages": [{"role": "user"}]}, "messages", "missing_column"),
        ({"messages": [{"role": "assistant", "content": "a"}]}, "messages", "wrong_roles"),
        ({"messages": [{"role": "user", "content": "a"}] * 2}, "messages", "wrong_roles"),
        ({"instruction": None}, "alpaca", "empty"),
        ({"instruction": ["a"]}, "alpaca", "not_text"),
        ({"synthesized text": 3}, "ph-instruct", "not_text"),
    ],
)
def test_what_is_no_instruction_is_rejected_with_a_reason(value, form, reason):
    made = instruction(value, form)
    assert isinstance(made, Reject)
    assert made.reason == reason


def test_the_id_tells_corpora_apart_but_not_places():
    row = {"conversations": ["q", "a"]}
    one, other = (read_instruction(row, "lima", "a", 0, number) for number in (1, 2))
    elsewhere = read_instruction(row, "lima", "b", 0, 1)
    assert isinstance(one, Instruction)
    assert one.instruction_id == other.instruction_id != elsewhere.instruction_id
    assert one.messages == (Message("user", "q"), Message("assistant", "a"))

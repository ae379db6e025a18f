"""Raw values to personas and instructions."""

import datetime
import unicodedata
from decimal import Decimal
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factory.config.synthesis import InstructionFormat
from factory.records import Instruction, Message, Persona, Reject, content_id
from factory.synthesis.instructions import FORMATS, detect_format, read_any_format, read_instruction
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


ZERO_WIDTH = ["\u200b", "\u200d", "\u200c", "\ufeff", "\u2060", "\u00ad", "\ufe0f", "\u202e", "\u3164", "\u180e"]


@pytest.mark.parametrize(
    "text", [*ZERO_WIDTH, " \u200b\u2060 ", "\u2800", "\x01\x1b", "\U000e0067\U000e007f", "\u115f"]
)
def test_a_text_of_what_nobody_sees_is_empty(text):
    assert read_persona(text, "persona").reason == "empty"
    assert instruction({"conversations": [text, "a"]}, "lima").reason == "empty"
    assert turns({"conversations": ["q", text]}, "lima") == [("user", "q")]


@given(st.text(), st.sampled_from(ZERO_WIDTH), st.integers(0))
def test_twins_by_what_nobody_sees_have_one_id(text, unseen, place):
    made = read_persona(text, "persona")
    if isinstance(made, Persona):
        at = place % (len(made.persona) + 1)
        twin = read_persona(made.persona[:at] + unseen + made.persona[at:], "persona")
        assert twin.character_id == made.character_id
        rows = [{"conversations": [each.persona, "a"]} for each in (made, twin)]
        assert instruction(rows[0], "lima").instruction_id == instruction(rows[1], "lima").instruction_id


def test_words_and_emoji_keep_what_joins_them():
    for text in (
        "\u0645\u06cc\u200c\u062e\u0648",
        "\u0915\u094d\u200d\u0937",
        "a cook 👩\u200d🍳",
        "1\ufe0f\u20e3",
        "🏴\U000e0067\U000e0062\U000e007f",
    ):
        assert read_persona(text, "persona").persona == text
        assert turns({"conversations": [text, text]}, "lima") == [("user", text), ("assistant", text)]
    scots, welsh = ("🏴\U000e0067\U000e0062" + tags + "\U000e007f" for tags in ("\U000e0073", "\U000e0077"))
    assert read_persona(scots, "persona").character_id != read_persona(welsh, "persona").character_id


def test_an_id_is_that_of_the_text_where_all_of_it_is_seen():
    assert read_persona("a  baker\n", "persona").character_id == content_id("a baker")
    assert instruction({"conversations": ["q\n\n q", "a"]}, "lima").instruction_id == content_id(
        "corpus", "user", "q\n\n q", "assistant", "a"
    )
    assert read_persona("a \u200b baker", "persona").character_id == content_id("a baker")


def test_a_missing_column_is_rejected_and_names_those_that_are_there():
    made = read_persona({"text": "a baker"}, "persona")
    assert isinstance(made, Reject)
    assert (made.reason, "'text'" in made.detail) == ("missing_column", True)


def test_a_line_of_text_is_a_persona():
    assert read_persona("a baker", "persona") == read_persona({"persona": "a  baker\n"}, "persona")


def test_lima_alternates_user_and_assistant():
    row = {"conversations": ["q1", "a1", "q2", "a2"], "source": "x"}
    assert detect_format(row) == "lima"
    assert turns(row, "lima") == [("user", "q1"), ("assistant", "a1"), ("user", "q2"), ("assistant", "a2")]


@pytest.mark.parametrize(("given_input", "user"), [("", "do it"), ("this", "do it\n\nthis"), (None, "do it")])
def test_alpaca_joins_instruction_and_input(given_input, user):
    row = {"instruction": "do it", "input": given_input, "output": "done"}
    assert detect_format(row) == "alpaca"
    assert turns(row, "alpaca") == [("user", user), ("assistant", "done")]


@pytest.mark.parametrize("text", ["Plan a trip", "User prompt:\nPlan a trip", "  User prompt: Plan a trip"])
def test_ph_instruct_is_a_user_turn_without_its_heading(text):
    row = {"input persona": "p", "synthesized text": text, "description": "d"}
    assert detect_format(row) == "ph-instruct"
    assert turns(row, "ph-instruct") == [("user", "Plan a trip")]


@pytest.mark.parametrize(
    ("given_input", "text"),
    [
        (12, "12"), (0.5, "0.5"), (True, "true"), ([3, 1], "[3, 1]"), ({"city": "Brno"}, '{"city": "Brno"}'),
        ([], "[]"), ("  this ", "  this"), (datetime.date(2020, 1, 2), "2020-01-02"), ([Decimal("1.5")], '["1.5"]'),
    ],
)  # fmt: skip
def test_what_is_given_with_an_instruction_is_kept_as_text(given_input, text):
    row = {"instruction": "sort", "input": given_input, "output": "done"}
    assert turns(row, "alpaca") == [("user", f"sort\n\n{text}"), ("assistant", "done")]
    dolly = {"instruction": "sort", "context": given_input, "response": "done", "category": "x"}
    assert detect_format(dolly) == "dolly"
    assert turns(dolly, "dolly") == turns(row, "alpaca")


def test_an_input_that_is_none_adds_nothing_and_one_that_is_no_json_is_rejected():
    for nothing in (None, "", " \n", float("nan")):
        assert turns({"instruction": "go", "input": nothing, "output": "ok"}, "alpaca")[0] == ("user", "go")
    assert instruction({"instruction": "go", "input": b"\xff", "output": "ok"}, "alpaca").reason == "not_text"


def test_earlier_turns_come_before_the_instruction():
    row = {"instruction": "q3", "input": "x", "output": "a3", "system": "s", "history": [["q1", "a1"], ("q2", "a2")]}
    assert detect_format(row) == "alpaca"
    assert [text for _, text in turns(row, "alpaca")] == ["q1", "a1", "q2", "a2", "q3\n\nx", "a3"]
    assert turns(row | {"output": ""}, "alpaca")[-1] == ("user", "q3\n\nx")
    for nothing in (None, [], ""):
        assert len(turns(row | {"history": nothing}, "alpaca")) == 2
    for history, reason in [
        ("q1", "not_a_list"), ([["q1"]], "not_a_list"), (["q1", "a1"], "not_a_list"), ([["q1", None]], "empty"),
        ({"q1": "a1"}, "not_a_list"), ([["q1", "a1", "q2"]], "not_a_list"), ([["q1", 5]], "not_text"),
    ]:  # fmt: skip
        assert instruction(row | {"history": history}, "alpaca").reason == reason, history


def test_sharegpt_has_its_own_names_and_loses_its_system_message():
    said = [
        {"from": "system", "value": "s"},
        {"from": "human", "value": "q", "weight": 1},
        {"from": "gpt", "value": "a"},
    ]
    row = {"id": 7, "conversations": said, "system": "obey"}
    assert detect_format(row) == detect_format({"conversations": said}) == "sharegpt"
    assert turns(row, "sharegpt") == [("user", "q"), ("assistant", "a")]
    ours = [{"from": "user", "value": "q"}, {"from": "assistant", "value": "a"}]
    other = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
    for same in (ours, other):
        assert turns({"conversations": same}, "sharegpt") == turns(row, "sharegpt")
    for bad, reason in [
        ([{"from": "gpt", "value": "a"}], "wrong_roles"),
        ([{"from": "human", "value": "q"}, {"from": "tool", "value": "a"}], "wrong_roles"),
        ([{"from": ["human"], "value": "q"}], "wrong_roles"),
        ([{"value": "q"}], "missing_column"),
        (["q"], "missing_column"),
        ([{"from": "human", "value": 5}], "not_text"),
    ]:
        assert instruction({"conversations": bad}, "sharegpt").reason == reason, bad


@pytest.mark.parametrize(
    "row",
    [
        {"instruction": "a", "context": "b", "output": "c"},
        {"instruction": "a", "output": "b", "response": "c"},
        {"instruction": "a", "response": "b", "messages": [{"role": "user", "content": "a"}]},
        {"messages": [{"role": "user", "content": "a"}], "conversations": ["a"]},
        {"question": "a", "answer": "b"},
        {"input": "a", "output": "b"},
        {"text": "a"},
        {"conversations": []},
        "text",
        None,
    ],
)
def test_a_mix_of_formats_and_what_has_none_is_no_format(row):
    assert detect_format(row) is None


def test_columns_that_are_null_or_of_no_format_decide_nothing():
    row = {"instruction": "a", "output": "b", "messages": None, "context": None, "text": "t", "prompt": "p"}
    assert detect_format(row) == "alpaca"
    assert detect_format({"conversations": ["a"], "system_prompt": "s", "source": "x"}) == "lima"


@pytest.mark.parametrize(
    ("row", "form"),
    [
        ({"messages": [{"role": "user", "content": "q"}], "history": [], "input": ""}, "messages"),
        ({"messages": [], "conversations": ["q"], "system": ""}, "lima"),
        ({"instruction": "q", "input": "x", "output": "a", "context": "", "response": ""}, "alpaca"),
        ({"instruction": "q", "input": "", "output": "", "context": "x", "response": "a"}, "dolly"),
        ({"instruction": "q", "context": "", "response": ""}, "dolly"),
        ({"instruction": "q", "input": "", "output": "", "context": "x"}, None),
    ],
)
def test_empty_columns_of_another_format_decide_nothing(row, form):
    assert detect_format(row) == form


def test_a_turn_is_read_by_the_names_that_are_not_null():
    said = [("human", "q"), ("gpt", "a")]
    both = [{"from": name, "value": text, "role": None, "content": None} for name, text in said]
    assert turns({"conversations": both}, "sharegpt") == [("user", "q"), ("assistant", "a")]


def test_rows_of_other_formats_are_read_and_mixed_ones_are_rejected():
    rows = [
        ({"instruction": "q", "output": "a"}, "ok"),
        ({"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]}, "ok"),
        ({"instruction": "q", "context": "", "response": "a"}, "ok"),
        ({"instruction": "q", "context": "", "output": "a"}, "ok"),
        ({"instruction": "q", "context": "lost", "output": "a"}, "mixed_columns"),
        ({"text": "q"}, "missing_column"),
        ({"instruction": None, "output": "a"}, "empty"),
        ([], "not_an_object"),
    ]
    for row, expected in rows:
        made = read_any_format(row, "alpaca", "corpus", 0, 0)
        if expected == "ok":
            assert [message.content for message in made.messages] == ["q", "a"], row
        else:
            assert made.reason == expected, row
    # A format that was named is what rows are read by.
    assert turns(rows[4][0], "alpaca") == [("user", "q"), ("assistant", "a")]


def test_every_format_can_be_named_in_a_config():
    assert set(get_args(InstructionFormat)) == set(FORMATS)


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

"""Instructions from raw rows, and the ids of texts."""

import datetime
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


ZERO_WIDTH = ["\u200b", "\u200d", "\u200c", "\ufeff", "\u2060", "\u00ad", "\ufe0f", "\u202e", "\u3164", "\u180e"]


@pytest.mark.parametrize(
    "text", [*ZERO_WIDTH, " \u200b\u2060 ", "\u2800", "\x01\x1b", "\U000e0067\U000e007f", "\u115f"]
)
def test_invisible_texts_are_empty(text):
    assert read_persona(text, "persona").reason == "empty"
    assert instruction({"conversations": [text, "a"]}, "lima").reason == "empty"
    assert turns({"conversations": ["q", text]}, "lima") == [("user", "q")]


@given(st.text(), st.sampled_from(ZERO_WIDTH), st.integers(0))
def test_invisible_characters_do_not_change_the_id(text, invisible, position):
    result = read_persona(text, "persona")
    if isinstance(result, Persona):
        at = position % (len(result.persona) + 1)
        same = read_persona(result.persona[:at] + invisible + result.persona[at:], "persona")
        assert same.character_id == result.character_id
        rows = [{"conversations": [p.persona, "a"]} for p in (result, same)]
        assert instruction(rows[0], "lima").instruction_id == instruction(rows[1], "lima").instruction_id


def test_joiners_of_words_and_emoji_are_kept():
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


def test_id_of_visible_text_is_its_hash():
    assert read_persona("a  baker\n", "persona").character_id == content_id("a baker")
    assert instruction({"conversations": ["q\n\n q", "a"]}, "lima").instruction_id == content_id(
        "corpus", "user", "q\n\n q", "assistant", "a"
    )
    assert read_persona("a \u200b baker", "persona").character_id == content_id("a baker")


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
def test_context_of_an_instruction_is_kept_as_text(given_input, text):
    row = {"instruction": "sort", "input": given_input, "output": "done"}
    assert turns(row, "alpaca") == [("user", f"sort\n\n{text}"), ("assistant", "done")]
    dolly = {"instruction": "sort", "context": given_input, "response": "done", "category": "x"}
    assert detect_format(dolly) == "dolly"
    assert turns(dolly, "dolly") == turns(row, "alpaca")


def test_empty_input_adds_nothing():
    for empty in (None, "", " \n", float("nan")):
        assert turns({"instruction": "go", "input": empty, "output": "ok"}, "alpaca")[0] == ("user", "go")
    assert instruction({"instruction": "go", "input": b"\xff", "output": "ok"}, "alpaca").reason == "not_text"


def test_history_comes_before_the_instruction():
    row = {"instruction": "q3", "input": "x", "output": "a3", "system": "s", "history": [["q1", "a1"], ("q2", "a2")]}
    assert detect_format(row) == "alpaca"
    assert [text for _, text in turns(row, "alpaca")] == ["q1", "a1", "q2", "a2", "q3\n\nx", "a3"]
    assert turns(row | {"output": ""}, "alpaca")[-1] == ("user", "q3\n\nx")
    for empty in (None, [], ""):
        assert len(turns(row | {"history": empty}, "alpaca")) == 2
    for history, reason in [
        ("q1", "not_a_list"), ([["q1"]], "not_a_list"), (["q1", "a1"], "not_a_list"), ([["q1", None]], "empty"),
        ({"q1": "a1"}, "not_a_list"), ([["q1", "a1", "q2"]], "not_a_list"), ([["q1", 5]], "not_text"),
    ]:  # fmt: skip
        assert instruction(row | {"history": history}, "alpaca").reason == reason, history


def test_sharegpt_roles_and_system_messages():
    conversation = [
        {"from": "system", "value": "s"},
        {"from": "human", "value": "q", "weight": 1},
        {"from": "gpt", "value": "a"},
    ]
    row = {"id": 7, "conversations": conversation, "system": "obey"}
    assert detect_format(row) == detect_format({"conversations": conversation}) == "sharegpt"
    assert turns(row, "sharegpt") == [("user", "q"), ("assistant", "a")]
    ours = [{"from": "user", "value": "q"}, {"from": "assistant", "value": "a"}]
    other = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
    for turns_ in (ours, other):
        assert turns({"conversations": turns_}, "sharegpt") == turns(row, "sharegpt")
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
def test_mixed_and_unknown_columns_are_no_format(row):
    assert detect_format(row) is None


def test_null_and_unknown_columns_are_ignored():
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
def test_empty_columns_of_other_formats_are_ignored(row, form):
    assert detect_format(row) == form


def test_turns_are_read_by_keys_that_are_not_null():
    messages = [("human", "q"), ("gpt", "a")]
    both = [{"from": name, "value": text, "role": None, "content": None} for name, text in messages]
    assert turns({"conversations": both}, "sharegpt") == [("user", "q"), ("assistant", "a")]


def test_mixed_columns_are_rejected():
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
        result = read_any_format(row, "alpaca", "corpus", 0, 0)
        if expected == "ok":
            assert [message.content for message in result.messages] == ["q", "a"], row
        else:
            assert result.reason == expected, row
    # Rows are read in the configured format.
    assert turns(rows[4][0], "alpaca") == [("user", "q"), ("assistant", "a")]


def test_every_format_can_be_configured():
    assert set(get_args(InstructionFormat)) == set(FORMATS)


def test_system_messages_are_dropped():
    row = {"messages": [{"role": r, "content": r} for r in ("system", "user", "assistant")]}
    assert turns(row, "messages") == [("user", "user"), ("assistant", "assistant")]


def test_instruction_without_a_response_is_accepted():
    row = {"instruction": "do it", "input": "", "output": ""}
    assert turns(row, "alpaca") == [("user", "do it")]


def test_line_ends_are_normalized():
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
def test_invalid_instructions_are_rejected(value, form, reason):
    result = instruction(value, form)
    assert isinstance(result, Reject)
    assert result.reason == reason


def test_id_depends_on_the_corpus_not_on_the_row():
    row = {"conversations": ["q", "a"]}
    first, second = (read_instruction(row, "lima", "a", 0, number) for number in (1, 2))
    other_corpus = read_instruction(row, "lima", "b", 0, 1)
    assert isinstance(first, Instruction)
    assert first.instruction_id == second.instruction_id != other_corpus.instruction_id
    assert first.messages == (Message("user", "q"), Message("assistant", "a"))

"""Dialogues in the shapes that others read: nothing that is said is lost, whatever it is."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factory.export.export_files import json_line
from factory.export.formats import IDS, SHAPES, to_character
from factory.records import Reject
from factory.storage.schemas import DIALOGUES
from factory.storage.tables import Table
from factory.synthesis.input_files import read_rows
from factory.synthesis.instructions import COLUMNS, detect_format, read_any_format
from factory.text.normalize import clean_paragraphs, is_text
from tests.hard_texts import HARD

IDENTITY = {name: f"the {name}" for name in IDS}
texts = st.one_of(st.text(), st.sampled_from(HARD))


@st.composite
def dialogues(draw: st.DrawFn) -> dict:
    """A row of a table of dialogues: a system message, then turns."""
    messages = [{"role": "system", "content": draw(texts)}]
    for user, reply in draw(st.lists(st.tuples(texts, texts), min_size=1, max_size=4)):
        messages += [{"role": "user", "content": user}, {"role": "assistant", "content": reply}]
    return {"messages": messages, **IDENTITY}


def said(row: dict) -> list[tuple[str, str]]:
    return [(message["role"], message["content"]) for message in row["messages"]]


def with_history(row: dict, question: str, answer: str) -> list[tuple[str, str]]:
    turns = [*row["history"], [row[question], row[answer]]]
    return [message for user, reply in turns for message in (("user", user), ("assistant", reply))]


BACK = {
    "messages": said,
    "sharegpt": lambda row: [
        ({"system": "system", "human": "user", "gpt": "assistant"}[m["from"]], m["value"]) for m in row["conversations"]
    ],
    "alpaca": lambda row: [("system", row["system"]), *with_history(row, "instruction", "output")],
    "opencharacter": lambda row: with_history(row, "question", "character_answer"),
}
"""What each shape says was said."""


@pytest.mark.parametrize("name", SHAPES)
@settings(deadline=None)
@given(row=dialogues())
def test_every_message_comes_back_in_its_order_and_role(name, row):
    made = SHAPES[name].convert(row)
    # The system message of OpenCharacter's shape is made of the character's own row.
    expected = said(row)[1:] if name == "opencharacter" else said(row)
    assert BACK[name](made) == expected
    assert {key: made[key] for key in IDS} == IDENTITY


@pytest.mark.parametrize("name", SHAPES)
@settings(deadline=None)
@given(row=dialogues())
def test_a_row_is_the_same_after_a_line_of_json_and_after_arrow(name, row):
    shape = SHAPES[name]
    made = shape.convert(row)
    assert list(made) == shape.schema.names == list(shape.meaning)
    line = json_line(made)
    assert line.decode().splitlines(keepends=True) == [line.decode()], "a line to every reader of lines"
    assert json.loads(line) == made
    assert pa.Table.from_pylist([made], schema=shape.schema).to_pylist() == [made]


@pytest.mark.parametrize("file_type", ["jsonl", "parquet"])
@pytest.mark.parametrize("name", SHAPES)
@settings(deadline=None, max_examples=30)
@given(rows=st.lists(dialogues(), min_size=1, max_size=3))
def test_an_export_is_read_back_as_the_same_dialogues(exports, name, file_type, rows):
    shape = SHAPES[name]
    made = [shape.convert(row) for row in rows]
    path = exports / f"train.{file_type}"
    if file_type == "jsonl":
        path.write_bytes(b"".join(map(json_line, made)))
    else:
        pq.write_table(pa.Table.from_pylist(made, schema=shape.schema), path)
    read = list(read_rows(path, COLUMNS))
    assert [row.error for row in read] == [""] * len(rows)
    for row, back in zip(rows, read, strict=True):
        assert detect_format(back.value) == name
        made = read_any_format(back.value, name, "corpus", 0, back.row)
        clean = [(role, clean_paragraphs(text)) for role, text in said(row)[1:]]
        if isinstance(clean[-1][1], Reject) and clean[-1][1].reason == "empty":
            clean.pop()  # a table has no empty reply, and an instruction without one is none the worse
        refused = [text.reason for _, text in clean if isinstance(text, Reject)]
        if refused:
            assert made.reason == refused[0], "a table holds no such text"
        else:
            assert [(message.role, message.content) for message in made.messages] == clean


@pytest.fixture(scope="module")
def exports(tmp_path_factory):
    return tmp_path_factory.mktemp("exports")


def test_a_dialogue_of_one_turn_has_an_empty_history_and_an_instruction_without_input():
    row = {"messages": [{"role": r, "content": r} for r in ("system", "user", "assistant")], **IDENTITY}
    alpaca = SHAPES["alpaca"].convert(row)
    assert [alpaca[key] for key in ("instruction", "input", "output", "system", "history")] == [
        "user", "", "assistant", "system", [],
    ]  # fmt: skip
    paper = SHAPES["opencharacter"].convert(row)
    assert (paper["question"], paper["character_answer"], paper["question_source"]) == (
        "user",
        "assistant",
        "the corpus",
    )


@pytest.mark.parametrize(
    "roles", [("user", "assistant"), ("system", "user"), ("system", "assistant", "user"), ("system",)]
)
def test_what_is_no_dialogue_is_not_exported_as_one(roles):
    row = {"messages": [{"role": role, "content": "x"} for role in roles], **IDENTITY}
    for name in ("alpaca", "opencharacter"):
        with pytest.raises((AssertionError, ValueError)):
            SHAPES[name].convert(row)


def test_half_a_character_comes_into_no_table_and_so_into_no_export(tmp_path):
    assert not is_text("half: \ud800")
    with pytest.raises(UnicodeEncodeError):
        Table(str(tmp_path), "dialogues/x").write(
            "1", [{"messages": [{"role": "user", "content": "\ud800"}]}], DIALOGUES
        )
    assert not list(tmp_path.glob("**/*.parquet"))


def test_a_character_has_the_fields_of_the_published_set():
    profile = {"character_id": "1", "persona": "a baker", "profile": "Name: Ada", "name": "Ada", "status": "ok"}
    assert to_character(profile) == {"character_id": "1", "persona": "a baker", "character": "Name: Ada"}

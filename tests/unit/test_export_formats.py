"""Export formats: no message is lost, whatever its text."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factory.export.export_files import json_line
from factory.export.formats import IDS, SHAPES, to_character, with_thoughts
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


def turns(row: dict) -> list[tuple[str, str]]:
    return [(message["role"], message["content"]) for message in row["messages"]]


def with_history(row: dict, question: str, answer: str) -> list[tuple[str, str]]:
    turns = [*row["history"], [row[question], row[answer]]]
    return [message for user, reply in turns for message in (("user", user), ("assistant", reply))]


BACK = {
    "messages": turns,
    "sharegpt": lambda row: [
        ({"system": "system", "human": "user", "gpt": "assistant"}[m["from"]], m["value"]) for m in row["conversations"]
    ],
    "alpaca": lambda row: [("system", row["system"]), *with_history(row, "instruction", "output")],
    "opencharacter": lambda row: with_history(row, "question", "character_answer"),
}
"""Reads the turns back from each format."""


@pytest.mark.parametrize("name", SHAPES)
@settings(deadline=None)
@given(row=dialogues())
def test_messages_keep_their_order_and_role(name, row):
    exported = SHAPES[name].convert(row)
    # In the OpenCharacter format, the system message is in the row of the character.
    expected = turns(row)[1:] if name == "opencharacter" else turns(row)
    assert BACK[name](exported) == expected
    assert {key: exported[key] for key in IDS} == IDENTITY


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("thoughts", [False, True])
@settings(deadline=None)
@given(row=dialogues())
def test_row_survives_json_and_arrow(name, thoughts, row):
    shape = with_thoughts(SHAPES[name]) if thoughts else SHAPES[name]
    row = row | {"thoughts": ["", "hm"]}
    exported = shape.convert(row)
    assert list(exported) == shape.schema.names == list(shape.meaning)
    assert ("thoughts" in exported) == thoughts
    line = json_line(exported)
    assert line.decode().splitlines(keepends=True) == [line.decode()], "one line for every reader of lines"
    assert json.loads(line) == exported
    assert pa.Table.from_pylist([exported], schema=shape.schema).to_pylist() == [exported]


@pytest.mark.parametrize("file_type", ["jsonl", "parquet"])
@pytest.mark.parametrize("name", SHAPES)
@settings(deadline=None, max_examples=30)
@given(rows=st.lists(dialogues(), min_size=1, max_size=3))
def test_export_reads_back_as_the_same_dialogues(exports, name, file_type, rows):
    shape = SHAPES[name]
    exported = [shape.convert(row) for row in rows]
    path = exports / f"train.{file_type}"
    if file_type == "jsonl":
        path.write_bytes(b"".join(map(json_line, exported)))
    else:
        pq.write_table(pa.Table.from_pylist(exported, schema=shape.schema), path)
    read = list(read_rows(path, COLUMNS))
    assert [row.error for row in read] == [""] * len(rows)
    for row, back in zip(rows, read, strict=True):
        assert detect_format(back.value) == name
        instruction = read_any_format(back.value, name, "corpus", 0, back.row)
        clean = [(role, clean_paragraphs(text)) for role, text in turns(row)[1:]]
        if isinstance(clean[-1][1], Reject) and clean[-1][1].reason == "empty":
            clean.pop()  # a table has no empty reply, and an instruction does not need one
        refused = [text.reason for _, text in clean if isinstance(text, Reject)]
        if refused:
            assert instruction.reason == refused[0], "no table has such a text"
        else:
            assert [(message.role, message.content) for message in instruction.messages] == clean


@pytest.fixture(scope="module")
def exports(tmp_path_factory):
    return tmp_path_factory.mktemp("exports")


def test_dialogue_of_one_turn_has_an_empty_history():
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
def test_invalid_dialogues_are_not_exported(roles):
    row = {"messages": [{"role": role, "content": "x"} for role in roles], **IDENTITY}
    for name in ("alpaca", "opencharacter"):
        with pytest.raises((AssertionError, ValueError)):
            SHAPES[name].convert(row)


def test_lone_surrogates_are_in_no_table(tmp_path):
    assert not is_text("half: \ud800")
    with pytest.raises(UnicodeEncodeError):
        Table(str(tmp_path), "dialogues/x").write(
            "1", [{"messages": [{"role": "user", "content": "\ud800"}]}], DIALOGUES
        )
    assert not list(tmp_path.glob("**/*.parquet"))


def test_character_has_the_published_fields():
    profile = {"character_id": "1", "persona": "a baker", "profile": "Name: Ada", "name": "Ada", "status": "ok"}
    assert to_character(profile) == {"character_id": "1", "persona": "a baker", "character": "Name: Ada"}

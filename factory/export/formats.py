"""Export formats: a dialogue as chat messages, ShareGPT, Alpaca or OpenCharacter rows.

    messages       {"messages": [{"role": "system" | "user" | "assistant", "content"}]}        TRL, OpenAI
    sharegpt       {"conversations": [{"from": "system" | "human" | "gpt", "value"}]}          Axolotl, LLaMA-Factory
    alpaca         {"instruction", "input", "output", "system", "history": [[user, reply]]}    LLaMA-Factory
    opencharacter  {"question", "question_source", "character_answer", "history"}              xywang1/OpenCharacter

If a format has one question and one answer, they are those of the last turn, and `history` has the turns before it.
Every format ends with the ids, so that a row can be traced, and with the thoughts of a reasoning model if they are
learned (`training.learn_thoughts`). In `opencharacter` the system message is not in the row: its persona and profile
are in the rows of the characters, as published.

A new format is a function that converts a row, and an entry in `SHAPES`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from factory.storage.rows import Row

IDS = ("dialogue_id", "character_id", "instruction_id", "corpus", "strategy")
SPEAKERS = {"system": "system", "user": "human", "assistant": "gpt"}
"""ShareGPT's names of the roles."""


def to_messages(row: Row) -> dict[str, Any]:
    """Return a row of dialogues or curated dialogues as chat messages."""
    return {"messages": row["messages"], **_ids(row)}


def to_sharegpt(row: Row) -> dict[str, Any]:
    """Return a row as a ShareGPT conversation."""
    turns = [{"from": SPEAKERS[message["role"]], "value": message["content"]} for message in row["messages"]]
    return {"conversations": turns, **_ids(row)}


def to_alpaca(row: Row) -> dict[str, Any]:
    """Return a row as Alpaca's instruction and output; `input` is empty, since the instruction contains it."""
    system, (*history, last) = _turns(row)
    return {
        "instruction": last[0],
        "input": "",
        "output": last[1],
        "system": system,
        "history": history,
        **_ids(row),
    }


def to_opencharacter(row: Row) -> dict[str, Any]:
    """Return a row as in the paper's data set; `history` is our addition, empty for dialogues of one turn."""
    _, (*history, last) = _turns(row)
    return {
        "question": last[0],
        "question_source": row["corpus"],
        "character_answer": last[1],
        "history": history,
        **_ids(row),
    }


def to_character(row: Row) -> dict[str, Any]:
    """Return a row of profiles as a character of the paper's data set."""
    return {"character_id": row["character_id"], "persona": row["persona"], "character": row["profile"]}


def _ids(row: Row) -> dict[str, str]:
    return {name: row[name] for name in IDS}


def _turns(row: Row) -> tuple[str, list[list[str]]]:
    """Return the system message, and the user's and the character's message of each turn."""
    system, *turns = row["messages"]
    users, replies = turns[0::2], turns[1::2]
    roles = [message["role"] for message in row["messages"]]
    assert roles == ["system", *["user", "assistant"] * len(replies)], f"{row['dialogue_id']}: roles {roles}"
    return system["content"], [[u["content"], a["content"]] for u, a in zip(users, replies, strict=True)]


@dataclass(frozen=True)
class Shape:
    """How rows of one table are exported."""

    convert: Callable[[Row], dict[str, Any]]
    reads: tuple[str, ...]
    """The columns of the table to read."""
    schema: pa.Schema
    meaning: dict[str, str]
    """The meaning of each column, for the card."""


def _shape(convert: Callable[[Row], dict[str, Any]], fields: list[tuple[str, pa.DataType, str]]) -> Shape:
    columns = [*fields, *((name, pa.string(), _ID_MEANINGS[name]) for name in IDS)]
    return Shape(
        convert,
        ("messages", *IDS),
        pa.schema([(name, kind) for name, kind, _ in columns]),
        {name: meaning for name, _, meaning in columns},
    )


def message_list(role: str, content: str) -> pa.DataType:
    """Return the type of a list of messages, by the names of their two fields."""
    return pa.list_(pa.struct([(role, pa.string()), (content, pa.string())]))


_ID_MEANINGS = {
    "dialogue_id": "hash of character, instruction, strategy, prompts, model and sampling",
    "character_id": "hash of the persona; all dialogues of a character share it",
    "instruction_id": "hash of the corpus and the instruction",
    "corpus": "the source of the instruction",
    "strategy": "`generate` (OpenCharacter-G: a new reply) or `rewrite` (OpenCharacter-R: a restyled reference reply)",
}
_TEXT = pa.string()
_HISTORY = pa.list_(pa.list_(pa.string()))
_EARLIER = "the turns before it, each as [user, reply]; empty for dialogues of one turn"

SHAPES: dict[str, Shape] = {
    "messages": _shape(
        to_messages,
        [("messages", message_list("role", "content"), "a `system` message, then `user` and `assistant` alternately")],
    ),
    "sharegpt": _shape(
        to_sharegpt,
        [("conversations", message_list("from", "value"), "the `system` message, then `human` and `gpt` alternately")],
    ),
    "alpaca": _shape(
        to_alpaca,
        [
            ("instruction", _TEXT, "the user's last message"),
            ("input", _TEXT, "always empty: the instruction contains it"),
            ("output", _TEXT, "the character's reply to it"),
            ("system", _TEXT, "the system message with persona and profile"),
            ("history", _HISTORY, _EARLIER),
        ],
    ),
    "opencharacter": _shape(
        to_opencharacter,
        [
            ("question", _TEXT, "the user's last message"),
            ("question_source", _TEXT, "the same as `corpus`"),
            ("character_answer", _TEXT, "the character's reply to it"),
            ("history", _HISTORY, _EARLIER),
        ],
    ),
}


def with_thoughts(shape: Shape) -> Shape:
    """Return a shape with the thoughts before each reply in a column of their own."""
    meaning = "what the model wrote before each reply, which no rule of curation has read; null if it did not think"
    return Shape(
        lambda row: {**shape.convert(row), "thoughts": row["thoughts"]},
        (*shape.reads, "thoughts"),
        shape.schema.append(pa.field("thoughts", pa.list_(_TEXT))),
        {**shape.meaning, "thoughts": meaning},
    )


CHARACTERS = Shape(
    to_character,
    ("character_id", "persona", "profile"),
    pa.schema([("character_id", _TEXT), ("persona", _TEXT), ("character", _TEXT)]),
    {
        "character_id": _ID_MEANINGS["character_id"],
        "persona": "the sentence that the profile was generated from",
        "character": "the profile, a line per item: name, age, gender, race, birth place, appearance, experience, "
        "personality",
    },
)
"""The second table of `opencharacter`."""

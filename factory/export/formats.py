"""A dialogue in the published shapes that others read: chat messages, ShareGPT, Alpaca, OpenCharacter.

    messages       {"messages": [{"role": "system" | "user" | "assistant", "content"}]}        TRL, OpenAI
    sharegpt       {"conversations": [{"from": "system" | "human" | "gpt", "value"}]}          Axolotl, LLaMA-Factory
    alpaca         {"instruction", "input", "output", "system", "history": [[user, reply]]}    LLaMA-Factory
    opencharacter  {"question", "question_source", "character_answer", "history"}              xywang1/OpenCharacter

Where a shape holds one question and one answer, they are those of the last turn, and `history` has the
turns before it. The ids follow in every shape, so that a row can be traced back. In `opencharacter` the
system message is not in the row: its persona and profile stand in the characters' rows, as published.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import pyarrow as pa

from factory.storage.rows import Row

Format = Literal["messages", "sharegpt", "alpaca", "opencharacter"]

IDS = ("dialogue_id", "character_id", "instruction_id", "corpus", "strategy")
SPEAKERS = {"system": "system", "user": "human", "assistant": "gpt"}
"""The roles as ShareGPT names them."""


def to_messages(row: Row) -> dict[str, Any]:
    """A row of dialogues or curated dialogues as chat messages."""
    return {"messages": row["messages"], **_ids(row)}


def to_sharegpt(row: Row) -> dict[str, Any]:
    """The same as ShareGPT's conversations."""
    said = [{"from": SPEAKERS[message["role"]], "value": message["content"]} for message in row["messages"]]
    return {"conversations": said, **_ids(row)}


def to_alpaca(row: Row) -> dict[str, Any]:
    """The same as Alpaca's instruction and output; `input` is empty, since the instruction holds it."""
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
    """The same as the paper's data set has it; `history` is ours, and empty where there is one turn."""
    _, (*history, last) = _turns(row)
    return {
        "question": last[0],
        "question_source": row["corpus"],
        "character_answer": last[1],
        "history": history,
        **_ids(row),
    }


def to_character(row: Row) -> dict[str, Any]:
    """A row of profiles as the paper's data set has its characters."""
    return {"character_id": row["character_id"], "persona": row["persona"], "character": row["profile"]}


def _ids(row: Row) -> dict[str, str]:
    return {name: row[name] for name in IDS}


def _turns(row: Row) -> tuple[str, list[list[str]]]:
    """The system message, and what the user and the character say in each turn."""
    system, *said = row["messages"]
    users, replies = said[0::2], said[1::2]
    roles = [message["role"] for message in row["messages"]]
    assert roles == ["system", *["user", "assistant"] * len(replies)], f"{row['dialogue_id']}: roles {roles}"
    return system["content"], [[u["content"], a["content"]] for u, a in zip(users, replies, strict=True)]


@dataclass(frozen=True)
class Shape:
    """Rows of one kind as they are exported."""

    convert: Callable[[Row], dict[str, Any]]
    reads: tuple[str, ...]
    """The columns of the table that it needs."""
    schema: pa.Schema
    meaning: dict[str, str]
    """What each column holds, for the card."""


def _shape(convert: Callable[[Row], dict[str, Any]], own: list[tuple[str, pa.DataType, str]]) -> Shape:
    columns = [*own, *((name, pa.string(), _IDS_MEAN[name]) for name in IDS)]
    return Shape(
        convert,
        ("messages", *IDS),
        pa.schema([(name, kind) for name, kind, _ in columns]),
        {name: meaning for name, _, meaning in columns},
    )


def _said(who: str, what: str) -> pa.DataType:
    return pa.list_(pa.struct([(who, pa.string()), (what, pa.string())]))


_IDS_MEAN = {
    "dialogue_id": "hash of character, instruction, strategy, prompts, model and sampling",
    "character_id": "hash of the persona; all dialogues of a character share it",
    "instruction_id": "hash of the corpus and the instruction",
    "corpus": "where the instruction comes from",
    "strategy": "`generate` (OpenCharacter-G: replies written anew) or `rewrite` (R: reference responses restyled)",
}
_TEXT = pa.string()
_HISTORY = pa.list_(pa.list_(pa.string()))
_EARLIER = "the turns before it, each as [user, reply]; empty where there is one turn"

SHAPES: dict[Format, Shape] = {
    "messages": _shape(
        to_messages,
        [("messages", _said("role", "content"), "a `system` message, then `user` and `assistant` in turn")],
    ),
    "sharegpt": _shape(
        to_sharegpt,
        [("conversations", _said("from", "value"), "the `system` message, then `human` and `gpt` in turn")],
    ),
    "alpaca": _shape(
        to_alpaca,
        [
            ("instruction", _TEXT, "what the user says last"),
            ("input", _TEXT, "always empty: the instruction holds it"),
            ("output", _TEXT, "the character's reply to it"),
            ("system", _TEXT, "the system message with persona and profile"),
            ("history", _HISTORY, _EARLIER),
        ],
    ),
    "opencharacter": _shape(
        to_opencharacter,
        [
            ("question", _TEXT, "what the user says last"),
            ("question_source", _TEXT, "the same as `corpus`"),
            ("character_answer", _TEXT, "the character's reply to it"),
            ("history", _HISTORY, _EARLIER),
        ],
    ),
}

CHARACTERS = Shape(
    to_character,
    ("character_id", "persona", "profile"),
    pa.schema([("character_id", _TEXT), ("persona", _TEXT), ("character", _TEXT)]),
    {
        "character_id": _IDS_MEAN["character_id"],
        "persona": "the sentence that the character was made from",
        "character": "the profile, a line each: name, age, gender, race, birth place, appearance, experience, "
        "personality",
    },
)
"""The second table of `opencharacter`."""

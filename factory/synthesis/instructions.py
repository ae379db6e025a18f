"""A raw row to an Instruction: LIMA, Alpaca and PH-Instruct as published, and chat messages."""

from collections.abc import Sequence
from typing import Any

from factory.normalise import paragraphs
from factory.records import Instruction, Message, Reject, content_id

FORMATS = {"lima": "conversations", "alpaca": "instruction", "ph-instruct": "synthesized text", "messages": "messages"}
"""Each format by the key that gives it away."""

WITHOUT_RESPONSES = "ph-instruct"


def format_of(value: Any) -> str | None:
    """The format that a row is in, by its keys."""
    keys = value if isinstance(value, dict) else {}
    return next((name for name, key in FORMATS.items() if key in keys), None)


def read_instruction(value: Any, form: str, corpus: str, source: int, row: int) -> Instruction | Reject:
    """Turn one row of a corpus into user turns with the responses that it has.

    Args:
        value: the row as the file holds it.
        form: one of `FORMATS`.
        corpus: the corpus's name; equal messages in two corpora are two instructions.
        source: number of the file, from 0.
        row: number of the row in it, from 0.
    """
    if not isinstance(value, dict):
        return Reject("not_an_object", repr(value)[:2000])
    if FORMATS[form] not in value:
        return Reject("missing_column", f"no {FORMATS[form]!r} in {sorted(map(str, value))}")
    turns = _turns(value, form)
    if isinstance(turns, Reject):
        return turns
    messages = _clean(turns)
    if isinstance(messages, Reject):
        return messages
    identity = content_id(corpus, *(part for m in messages for part in (m.role, m.content)))
    return Instruction(identity, corpus, messages, source, row)


def _turns(value: dict[str, Any], form: str) -> Sequence[tuple[str, Any]] | Reject:
    if form == "alpaca":
        task, given = value["instruction"], value.get("input")
        question = f"{task}\n\n{given}" if isinstance(given, str) and isinstance(task, str) and given.strip() else task
        return [("user", question), ("assistant", value.get("output"))]
    if form == "ph-instruct":
        text = value["synthesized text"]
        return [("user", text.strip().removeprefix("User prompt:") if isinstance(text, str) else text)]
    turns = value[FORMATS[form]]
    if not isinstance(turns, (list, tuple)):
        return Reject("not_a_list", repr(turns)[:2000])
    if form == "lima":
        return [("assistant" if number % 2 else "user", turn) for number, turn in enumerate(turns)]
    if not all(isinstance(turn, dict) and "role" in turn and "content" in turn for turn in turns):
        return Reject("missing_column", "a message without role or content")
    # A corpus's own system message gives way to the character's.
    return [(turn["role"], turn["content"]) for turn in turns if turn["role"] != "system"]


def _clean(turns: Sequence[tuple[str, Any]]) -> tuple[Message, ...] | Reject:
    messages: list[Message] = []
    for number, (role, content) in enumerate(turns):
        if role != ("assistant" if number % 2 else "user"):
            return Reject("wrong_roles", f"message {number} is of {role!r}; user and assistant take turns, user first")
        text = paragraphs(content)
        if isinstance(text, Reject):
            if role == "assistant" and text.reason == "empty" and number == len(turns) - 1:
                break  # no reference response; enough to generate from
            return text
        messages.append(Message(role, text))
    return tuple(messages) or Reject("empty", "no messages")

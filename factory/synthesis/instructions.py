"""Instructions: a raw row of a published format, or one of our exports, to an Instruction."""

import json
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

from factory.records import Instruction, Message, Reject, content_id
from factory.text.normalize import clean_paragraphs, remove_invisible

Turns = Iterator[tuple[Any, Any]]
"""Role and content of each message, as in the row."""

TURN_KEYS = (("role", "content"), ("from", "value"))
"""The keys of a turn's role and content, by format."""
ROLES = {"human": "user", "gpt": "assistant"}
"""Our names of ShareGPT's roles."""


class _WrongShape(Exception):  # noqa: N818
    """A value does not have the shape that its format requires."""

    def __init__(self, reason: str, detail: str) -> None:
        self.reject = Reject(reason, detail[:2000])


@dataclass(frozen=True)
class Format:
    """A format, defined by its columns.

    Rows have all `required` columns and any `optional` ones; columns that no format has are ignored.
    """

    required: tuple[str, ...]
    optional: tuple[str, ...]
    turns: Callable[[Mapping[str, Any]], Turns]
    fits: Callable[[Mapping[str, Any]], bool] = lambda row: True
    """Whether a row's values fit, for formats with the same columns."""

    @property
    def columns(self) -> tuple[str, ...]:
        """All columns of the format."""
        return (*self.required, *self.optional)


def _question_turns(question: str, context: str, reply: str) -> Callable[[Mapping[str, Any]], Turns]:
    """Return a reader of the turns of a format with columns for a question, its context and the reply.

    The column `history` has the earlier turns.
    """

    def turns(row: Mapping[str, Any]) -> Turns:
        for pair in _list(row.get("history") or [], "history"):
            if len(_list(pair, "history")) != 2:
                raise _WrongShape("not_a_list", f"history has {pair!r}, which is not a pair of [user, reply]")
            yield from zip(("user", "assistant"), pair, strict=True)
        user, more = row[question], _as_text(row.get(context), context) if context else ""
        yield "user", f"{user}\n\n{more}" if more and isinstance(user, str) else user
        yield "assistant", row.get(reply)

    return turns


def _as_text(value: Any, column: str) -> str:
    """Return the context of a question as text: other values as JSON, and no text for null and NaN."""
    if value is None or value != value or (isinstance(value, str) and not value.strip()):
        return ""
    if isinstance(value, str | date | Decimal):
        return str(value)
    try:
        return json.dumps(value, ensure_ascii=False, default=_to_text)
    except (TypeError, ValueError):
        raise _WrongShape("not_text", f"{column}: {value!r}") from None


def _to_text(value: Any) -> str:
    """Return a value of Parquet that JSON does not have as text."""
    if isinstance(value, date | Decimal):
        return str(value)
    raise TypeError


def _list(value: Any, column: str) -> list[Any] | tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise _WrongShape("not_a_list", f"{column}: {value!r}")
    return value


def _lima_turns(row: Mapping[str, Any]) -> Turns:
    for number, turn in enumerate(_list(row["conversations"], "conversations")):
        yield ("assistant" if number % 2 else "user"), turn


def _message_turns(column: str) -> Callable[[Mapping[str, Any]], Turns]:
    """Return a reader of the turns of a format with a list of objects; system messages are dropped."""

    def turns(row: Mapping[str, Any]) -> Turns:
        for turn in _list(row[column], column):
            found = [
                names for names in TURN_KEYS if isinstance(turn, Mapping) and names[0] in turn and names[1] in turn
            ]
            if not found:
                raise _WrongShape("missing_column", f"{column} has a turn without role and content: {turn!r}")
            # Parquet gives every turn of a file all fields, with nulls.
            role, content = next((keys for keys in found if turn[keys[0]] is not None), found[0])
            if turn[role] != "system":
                yield turn[role], turn[content]

    return turns


def _prompt_turn(row: Mapping[str, Any]) -> Turns:
    text = row["synthesized text"]
    yield "user", text.strip().removeprefix("User prompt:") if isinstance(text, str) else text


def _has_turns(kind: type) -> Callable[[Mapping[str, Any]], bool]:
    """Return a check that a row's first turn is of a type; a row without turns fits any."""

    def fits(row: Mapping[str, Any]) -> bool:
        turns = row["conversations"]
        return not (isinstance(turns, list | tuple) and turns) or isinstance(turns[0], kind)

    return fits


FORMATS = {
    "messages": Format(("messages",), ("system",), _message_turns("messages")),
    "sharegpt": Format(("conversations",), ("system",), _message_turns("conversations"), _has_turns(dict)),
    "lima": Format(("conversations",), (), _lima_turns, _has_turns(str)),
    "alpaca": Format(
        ("instruction",), ("input", "output", "system", "history"), _question_turns("instruction", "input", "output")
    ),
    "dolly": Format(("instruction", "response"), ("context",), _question_turns("instruction", "context", "response")),
    "opencharacter": Format(
        ("question", "character_answer"), ("history",), _question_turns("question", "", "character_answer")
    ),
    "ph-instruct": Format(("synthesized text",), (), _prompt_turn),
}
COLUMNS = tuple(sorted({column for form in FORMATS.values() for column in form.columns}))
"""All columns of all formats."""
EMPTY: tuple[Any, ...] = (None, "", [])
"""Values that may be dropped where a format does not have their column."""
KNOWN = ", ".join(f"{name} ({', '.join(form.columns)})" for name, form in FORMATS.items())

WITHOUT_RESPONSES = "ph-instruct"


def detect_format(value: Any) -> str | None:
    """Return the only format that fits all of a row's columns that any format has; None where there is not one.

    Empty columns count first; if no format fits, they are ignored.
    """
    row = value if isinstance(value, dict) else {}
    columns = {name for name in COLUMNS if row.get(name) is not None}
    return _only_format(row, columns) or _only_format(row, {name for name in columns if row[name] not in EMPTY})


def _only_format(row: Mapping[str, Any], columns: set[str]) -> str | None:
    names = [
        name for name, form in FORMATS.items() if set(form.required) <= columns <= set(form.columns) and form.fits(row)
    ]
    return names[0] if len(names) == 1 else None


def read_any_format(value: Any, form: str, corpus: str, source: int, row: int) -> Instruction | Reject:
    """Read an instruction in any format, from a corpus whose first rows are in `form`."""
    own = detect_format(value)
    if not own and isinstance(value, dict) and all(name in value for name in FORMATS[form].required):
        others = set(COLUMNS) - set(FORMATS[form].columns)
        if lost := sorted(name for name in others if value.get(name) not in EMPTY):
            return Reject("mixed_columns", f"{form} has no {', '.join(map(repr, lost))}")
    return read_instruction(value, own or form, corpus, source, row)


def read_instruction(value: Any, form: str, corpus: str, source: int, row: int) -> Instruction | Reject:
    """Read an instruction: user turns, with the responses that the row has.

    Args:
        value: the row's value.
        form: one of `FORMATS`.
        corpus: the name of the corpus; equal messages in two corpora are two instructions.
        source: the number of the file, from 0.
        row: the number of the row in it, from 0.
    """
    if not isinstance(value, dict):
        return Reject("not_an_object", repr(value)[:2000])
    if missing := [name for name in FORMATS[form].required if name not in value]:
        return Reject("missing_column", f"no {missing[0]!r} in {sorted(map(str, value))}"[:2000])
    try:
        messages = _clean(list(FORMATS[form].turns(value)))
    except _WrongShape as problem:
        return problem.reject
    if isinstance(messages, Reject):
        return messages
    content = content_id(corpus, *(part for m in messages for part in (m.role, remove_invisible(m.content))))
    return Instruction(content, corpus, messages, source, row)


def _clean(turns: Collection[tuple[Any, Any]]) -> tuple[Message, ...] | Reject:
    messages: list[Message] = []
    for number, (role, content) in enumerate(turns):
        expected = "assistant" if number % 2 else "user"
        if not isinstance(role, str) or ROLES.get(role, role) != expected:
            return Reject("wrong_roles", f"message {number} has the role {role!r}; expected is {expected!r}")
        text = clean_paragraphs(content)
        if isinstance(text, Reject):
            if expected == "assistant" and text.reason == "empty" and number == len(turns) - 1:
                break  # no reference response, which is enough for `generate`
            return text
        messages.append(Message(expected, text))
    return tuple(messages) or Reject("empty", "no messages")

"""A raw row to an Instruction: the published formats of instructions, ours among them."""

import json
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

from factory.records import Instruction, Message, Reject, content_id
from factory.text.normalize import clean_paragraphs, remove_invisible

Turns = Iterator[tuple[Any, Any]]
"""Role and content of each message, as the row has them."""

SPEECH = (("role", "content"), ("from", "value"))
"""What a turn calls its speaker and its text."""
ROLES = {"human": "user", "gpt": "assistant"}
"""ShareGPT's roles in our words."""


class _WrongShape(Exception):  # noqa: N818
    """A value has not the shape that its format gives it."""

    def __init__(self, reason: str, detail: str) -> None:
        self.reject = Reject(reason, detail[:2000])


@dataclass(frozen=True)
class Format:
    """A format by its columns.

    Rows have all of `needs`, and any of `may`; in columns that no format names, they may have anything.
    """

    needs: tuple[str, ...]
    may: tuple[str, ...]
    turns: Callable[[Mapping[str, Any]], Turns]
    fits: Callable[[Mapping[str, Any]], bool] = lambda row: True
    """Whether the values agree, where formats share their columns."""

    @property
    def columns(self) -> tuple[str, ...]:
        """All columns that it reads."""
        return (*self.needs, *self.may)


def _asking(question: str, given: str, reply: str) -> Callable[[Mapping[str, Any]], Turns]:
    """Make the turns of a format that has a question, what is given with it, and the reply to it.

    Earlier turns stand in `history`.
    """

    def turns(row: Mapping[str, Any]) -> Turns:
        for pair in _list(row.get("history") or [], "history"):
            if len(_list(pair, "history")) != 2:
                raise _WrongShape("not_a_list", f"history has {pair!r}, which is no pair of [user, reply]")
            yield from zip(("user", "assistant"), pair, strict=True)
        asked, more = row[question], _as_text(row.get(given), given) if given else ""
        yield "user", f"{asked}\n\n{more}" if more and isinstance(asked, str) else asked
        yield "assistant", row.get(reply)

    return turns


def _as_text(value: Any, column: str) -> str:
    """Return what is given with a question as text: what is none, as JSON. A number that is none is nothing."""
    if value is None or value != value or (isinstance(value, str) and not value.strip()):
        return ""
    if isinstance(value, str | date | Decimal):
        return str(value)
    try:
        return json.dumps(value, ensure_ascii=False, default=_plain)
    except (TypeError, ValueError):
        raise _WrongShape("not_text", f"{column}: {value!r}") from None


def _plain(value: Any) -> str:
    """Return what Parquet holds and JSON does not as text."""
    if isinstance(value, date | Decimal):
        return str(value)
    raise TypeError


def _list(value: Any, column: str) -> list[Any] | tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise _WrongShape("not_a_list", f"{column}: {value!r}")
    return value


def _lima(row: Mapping[str, Any]) -> Turns:
    for number, turn in enumerate(_list(row["conversations"], "conversations")):
        yield ("assistant" if number % 2 else "user"), turn


def _spoken(column: str) -> Callable[[Mapping[str, Any]], Turns]:
    """Make the turns of a format that has a list of objects; a system message gives way to the character's."""

    def turns(row: Mapping[str, Any]) -> Turns:
        for turn in _list(row[column], column):
            has = [names for names in SPEECH if isinstance(turn, Mapping) and names[0] in turn and names[1] in turn]
            if not has:
                raise _WrongShape("missing_column", f"{column} has a turn without role and content: {turn!r}")
            # Parquet gives all turns of a file the fields of each, and nulls in them.
            role, content = next((names for names in has if turn[names[0]] is not None), has[0])
            if turn[role] != "system":
                yield turn[role], turn[content]

    return turns


def _prompt_alone(row: Mapping[str, Any]) -> Turns:
    text = row["synthesized text"]
    yield "user", text.strip().removeprefix("User prompt:") if isinstance(text, str) else text


def _of(kind: type) -> Callable[[Mapping[str, Any]], bool]:
    """Return whether conversations are made of such turns; it goes by the first, and none fit any."""

    def fits(row: Mapping[str, Any]) -> bool:
        turns = row["conversations"]
        return not (isinstance(turns, list | tuple) and turns) or isinstance(turns[0], kind)

    return fits


FORMATS = {
    "messages": Format(("messages",), ("system",), _spoken("messages")),
    "sharegpt": Format(("conversations",), ("system",), _spoken("conversations"), _of(dict)),
    "lima": Format(("conversations",), (), _lima, _of(str)),
    "alpaca": Format(
        ("instruction",), ("input", "output", "system", "history"), _asking("instruction", "input", "output")
    ),
    "dolly": Format(("instruction", "response"), ("context",), _asking("instruction", "context", "response")),
    "opencharacter": Format(
        ("question", "character_answer"), ("history",), _asking("question", "", "character_answer")
    ),
    "ph-instruct": Format(("synthesized text",), (), _prompt_alone),
}
COLUMNS = tuple(sorted({column for form in FORMATS.values() for column in form.columns}))
"""What the formats are told apart by."""
EMPTY: tuple[Any, ...] = (None, "", [])
"""What loses nothing where a format has no such column."""
KNOWN = ", ".join(f"{name} ({', '.join(form.columns)})" for name, form in FORMATS.items())

WITHOUT_RESPONSES = "ph-instruct"


def format_of(value: Any) -> str | None:
    """Return the one format that a row is in, by all of its columns that any format has; None where that is none.

    A column that is empty counts as one that is not there only where the row is in no format with it.
    """
    row = value if isinstance(value, dict) else {}
    there = {name for name in COLUMNS if row.get(name) is not None}
    return _fitting(row, there) or _fitting(row, {name for name in there if row[name] not in EMPTY})


def _fitting(row: Mapping[str, Any], there: set[str]) -> str | None:
    """Return the one format that fits a row of which those columns count."""
    names = [name for name, form in FORMATS.items() if set(form.needs) <= there <= set(form.columns) and form.fits(row)]
    return names[0] if len(names) == 1 else None


def read_mixed(value: Any, form: str, corpus: str, source: int, row: int) -> Instruction | Reject:
    """Turn one row of a corpus whose first rows are in `form` into an instruction; it may be in another format."""
    own = format_of(value)
    if not own and isinstance(value, dict) and all(name in value for name in FORMATS[form].needs):
        others = set(COLUMNS) - set(FORMATS[form].columns)
        if lost := sorted(name for name in others if value.get(name) not in EMPTY):
            return Reject("mixed_columns", f"{form} has no {', '.join(map(repr, lost))}")
    return read_instruction(value, own or form, corpus, source, row)


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
    if missing := [name for name in FORMATS[form].needs if name not in value]:
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
        due = "assistant" if number % 2 else "user"
        if not isinstance(role, str) or ROLES.get(role, role) != due:
            return Reject("wrong_roles", f"message {number} is of {role!r}; user and assistant take turns, user first")
        text = clean_paragraphs(content)
        if isinstance(text, Reject):
            if due == "assistant" and text.reason == "empty" and number == len(turns) - 1:
                break  # no reference response; enough to generate from
            return text
        messages.append(Message(due, text))
    return tuple(messages) or Reject("empty", "no messages")

"""Instructions whose following a program can check: what a model still does when it is nobody in particular.

A check judges the form that was asked for and nothing else. It is lenient where an instruction leaves
room: space around a reply, marks around a word, the sign that a list is made with.
"""

import json
import re
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from factory.resources import RESOURCES
from factory.storage import file_io

BUILT_IN = file_io.join(str(RESOURCES), "data", "general", "verifiable.jsonl")

# Repeats give nothing back (`++`), and endings are bounded: no reply takes long.
_BULLET = re.compile(r"(?m)^[ \t]*+(?:[-*][ \t]++|•[ \t]*+)(?=.*\w)")
_NUMBER = re.compile(r"(?m)^[ \t]*+\**+(\d{1,9}+)[.)]\**+[ \t]++(?=\S)")
_MARKS = "*_`\"'“”‘’«» \t\r\n"  # noqa: RUF001 - quotes of many kinds
"""What may stand around a whole reply without changing what it says."""
_SENTENCE_END = re.compile(r"(?:(?<![.!?…])[.!?…]++[*_\"'”’»)\]]*+(?=\s)|[。！？]+[」』]*)\s*|\n\s*\n\s*")  # noqa: RUF001
_ITEM = re.compile(r"\**\d{1,9}\.")
_NO_END = re.compile(r"(?:^|[\s(])(?:Mr|Mrs|Ms|Dr|Prof|St|vs|e\.g|i\.e|approx)\.$", re.IGNORECASE)
"""Abbreviations that something follows."""
_MAYBE_END = re.compile(r"(?:[!?…][*_\"'”’»)\]]++|(?<!\.)\.\.++|…|(?:etc|a\.m|p\.m|U\.S)\.)$", re.IGNORECASE)  # noqa: RUF001
"""These end a sentence only where the next word does not go on in small letters."""


_ABBREVIATION = 12
"""Characters before a full stop that may make it one of an abbreviation."""


class _Check(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Counted(_Check):
    count: int = Field(ge=1)


class MaxWords(_Counted):
    """At most so many words."""

    kind: Literal["max_words"]

    def holds(self, reply: str) -> bool:
        return _words(reply) <= self.count


class MinWords(_Counted):
    """At least so many words."""

    kind: Literal["min_words"]

    def holds(self, reply: str) -> bool:
        return _words(reply) >= self.count


class Bullets(_Counted):
    """Exactly so many lines that start with a bullet."""

    kind: Literal["bullets"]

    def holds(self, reply: str) -> bool:
        return len(_BULLET.findall(reply)) == self.count


class Sentences(_Counted):
    """Exactly so many sentences."""

    kind: Literal["sentences"]

    def holds(self, reply: str) -> bool:
        return _sentences(reply) == self.count


class Json(_Check):
    """One JSON object with exactly these keys, in a fence or without."""

    kind: Literal["json"]
    keys: tuple[str, ...] = Field(min_length=1)

    def holds(self, reply: str) -> bool:
        try:
            value = json.loads(_unfenced(reply))
        except (ValueError, RecursionError):  # thousands of open brackets are what a looping model writes
            return False
        return isinstance(value, dict) and set(value) == set(self.keys)


class Keyword(_Check):
    """Each of these words, in capitals or not."""

    kind: Literal["keyword"]
    words: tuple[str, ...] = Field(min_length=1)

    def holds(self, reply: str) -> bool:
        return all(_has_word(reply, word) for word in self.words)


class Without(_Check):
    """None of these: a word as a whole, a single letter or a punctuation mark anywhere."""

    kind: Literal["without"]
    texts: tuple[str, ...] = Field(min_length=1)

    def holds(self, reply: str) -> bool:
        return not any(
            _has_word(reply, text) if len(text) > 1 else text.casefold() in reply.casefold() for text in self.texts
        )


class StartsWith(_Check):
    """The reply starts with this text."""

    kind: Literal["starts_with"]
    text: str = Field(min_length=1)

    def holds(self, reply: str) -> bool:
        return reply.strip(_MARKS).casefold().startswith(self.text.casefold())


class EndsWith(_Check):
    """The reply ends with this text."""

    kind: Literal["ends_with"]
    text: str = Field(min_length=1)

    def holds(self, reply: str) -> bool:
        return reply.strip(_MARKS).casefold().endswith(self.text.casefold())


class Uppercase(_Check):
    """There are letters, and none is small."""

    kind: Literal["uppercase"]

    def holds(self, reply: str) -> bool:
        return any(map(str.isupper, reply)) and not any(map(str.islower, reply))


class Lowercase(_Check):
    """There are letters, and none is a capital."""

    kind: Literal["lowercase"]

    def holds(self, reply: str) -> bool:
        return any(map(str.islower, reply)) and not any(map(str.isupper, reply))


class Numbered(_Counted):
    """A list that is numbered from 1 to exactly this number."""

    kind: Literal["numbered"]

    def holds(self, reply: str) -> bool:
        return [int(number) for number in _NUMBER.findall(reply)] == list(range(1, self.count + 1))


class Paragraphs(_Counted):
    """Exactly so many paragraphs, with blank lines between."""

    kind: Literal["paragraphs"]

    def holds(self, reply: str) -> bool:
        return len(re.split(r"\n[ \t\r]*\n\s*", reply)) == self.count


class OneOf(_Check):
    """The reply is one of these and nothing else; a full stop may follow."""

    kind: Literal["one_of"]
    options: tuple[str, ...] = Field(min_length=2)

    def holds(self, reply: str) -> bool:
        said = reply.strip(_MARKS).removesuffix(".").strip(_MARKS).casefold()
        return said in {option.casefold() for option in self.options}


Check = Annotated[
    MaxWords
    | MinWords
    | Bullets
    | Sentences
    | Json
    | Keyword
    | Without
    | StartsWith
    | EndsWith
    | Uppercase
    | Lowercase
    | Numbered
    | Paragraphs
    | OneOf,
    Field(discriminator="kind"),
]


class Verifiable(BaseModel):
    """An instruction and what a reply to it must hold to."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str
    instruction: str = Field(min_length=1)
    checks: tuple[Check, ...] = Field(min_length=1)


def read_verifiable(path: str = BUILT_IN) -> tuple[Verifiable, ...]:
    """Read the instructions, in the order of the file."""
    return tuple(Verifiable.model_validate_json(line) for line in file_io.read_bytes(path).splitlines())


def failed_checks(instruction: Verifiable, reply: str) -> list[str]:
    """The kinds of the checks that a reply fails, in their order; an empty one fails them all."""
    said = reply.strip()
    return [check.kind for check in instruction.checks if not said or not check.holds(said)]


def followed(instruction: Verifiable, reply: str) -> bool:
    """Whether a reply holds to all that the instruction asks for."""
    return not failed_checks(instruction, reply)


def _unfenced(reply: str) -> str:
    """Return what is in a fence, where a reply is one and nothing else; else the reply."""
    opening, _, rest = reply.partition("\n")
    body, _, closing = rest.rpartition("\n")
    fenced = opening.rstrip().lower() in ("```", "```json") and closing.strip() == "```"
    return body if fenced else reply


def _words(text: str) -> int:
    """Count words; a dash or a bullet that stands alone is none."""
    return sum(any(map(str.isalnum, word)) for word in text.split())


def _has_word(text: str, word: str) -> bool:
    return bool(re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text, re.IGNORECASE))


def _sentences(text: str) -> int:
    """Count sentences; a last one without a full stop is one too."""
    count, start = 0, 0
    for end in _SENTENCE_END.finditer(text):
        before = text[max(start, end.start() - _ABBREVIATION) : end.end()].rstrip()
        following = text[end.end() : end.end() + 1]
        is_item = end.start() - start <= _ABBREVIATION and _ITEM.fullmatch(before)
        if is_item or _NO_END.search(before) or (following.islower() and _MAYBE_END.search(before)):
            continue
        count += bool(_words(text[start : end.end()]))
        start = end.end()
    return count + bool(_words(text[start:]))

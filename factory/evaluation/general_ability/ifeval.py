"""Verifiable instructions in the manner of IFEval: a program checks whether a reply follows them.

A check covers the requested form and nothing else. It is lenient where an instruction leaves room: space around a
reply, marks around a word, the bullet sign of a list.
"""

import json
import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from factory.evaluation.general_ability.ifeval_rules import RULES
from factory.evaluation.general_ability.reply_counts import count_sentences, count_words
from factory.resources import RESOURCES
from factory.storage import file_io

BUILT_IN = file_io.join(str(RESOURCES), "data", "general", "verifiable.jsonl")

# Repeats are possessive (`++`), and endings are bounded: no reply takes long.
_BULLET = re.compile(r"(?m)^[ \t]*+(?:[-*][ \t]++|•[ \t]*+)(?=.*\w)")
_NUMBER = re.compile(r"(?m)^[ \t]*+\**+(\d{1,9}+)[.)]\**+[ \t]++(?=\S)")
_MARKS = "*_`\"'“”‘’«» \t\r\n"  # noqa: RUF001 - quotes of many kinds
"""Marks that may surround a whole reply without changing its content."""


class _Check(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Counted(_Check):
    count: int = Field(ge=1)


class MaxWords(_Counted):
    """At most this number of words."""

    kind: Literal["max_words"]

    def holds(self, reply: str) -> bool:
        return count_words(reply) <= self.count


class MinWords(_Counted):
    """At least this number of words."""

    kind: Literal["min_words"]

    def holds(self, reply: str) -> bool:
        return count_words(reply) >= self.count


class Bullets(_Counted):
    """Exactly this number of lines that start with a bullet."""

    kind: Literal["bullets"]

    def holds(self, reply: str) -> bool:
        return len(_BULLET.findall(reply)) == self.count


class Sentences(_Counted):
    """Exactly this number of sentences."""

    kind: Literal["sentences"]

    def holds(self, reply: str) -> bool:
        return count_sentences(reply) == self.count


class Json(_Check):
    """One JSON object with exactly these keys, with or without a code fence."""

    kind: Literal["json"]
    keys: tuple[str, ...] = Field(min_length=1)

    def holds(self, reply: str) -> bool:
        try:
            value = json.loads(_unfenced(reply))
        except (ValueError, RecursionError):  # a looping model writes thousands of open brackets
            return False
        return isinstance(value, dict) and set(value) == set(self.keys)


class Keyword(_Check):
    """Each of these words, in any case."""

    kind: Literal["keyword"]
    words: tuple[str, ...] = Field(min_length=1)

    def holds(self, reply: str) -> bool:
        return all(_has_word(reply, word) for word in self.words)


class Without(_Check):
    """None of these: whole words, but single letters and punctuation marks anywhere."""

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
    """There are letters, and none is lowercase."""

    kind: Literal["uppercase"]

    def holds(self, reply: str) -> bool:
        return any(map(str.isupper, reply)) and not any(map(str.islower, reply))


class Lowercase(_Check):
    """There are letters, and none is uppercase."""

    kind: Literal["lowercase"]

    def holds(self, reply: str) -> bool:
        return any(map(str.islower, reply)) and not any(map(str.isupper, reply))


class Numbered(_Counted):
    """A list numbered from 1 to exactly this number."""

    kind: Literal["numbered"]

    def holds(self, reply: str) -> bool:
        return [int(number) for number in _NUMBER.findall(reply)] == list(range(1, self.count + 1))


class Paragraphs(_Counted):
    """Exactly this number of paragraphs, separated by blank lines."""

    kind: Literal["paragraphs"]

    def holds(self, reply: str) -> bool:
        return len(re.split(r"\n[ \t\r]*\n\s*", reply)) == self.count


class OneOf(_Check):
    """The reply is one of these and nothing else, except for a full stop."""

    kind: Literal["one_of"]
    options: tuple[str, ...] = Field(min_length=2)

    def holds(self, reply: str) -> bool:
        text = reply.strip(_MARKS).removesuffix(".").strip(_MARKS).casefold()
        return text in {option.casefold() for option in self.options}


class Published(_Check):
    """A rule of IFEval's own, with its arguments (`ifeval_rules`)."""

    kind: Literal["ifeval"]
    rule: str
    arguments: dict[str, Any]

    def holds(self, reply: str) -> bool:
        return RULES[self.rule](reply, **self.arguments)


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
    | OneOf
    | Published,
    Field(discriminator="kind"),
]


class VerifiableInstruction(BaseModel):
    """An instruction and the checks of a reply to it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str
    instruction: str = Field(min_length=1)
    checks: tuple[Check, ...] = Field(min_length=1)


def read_verifiable(path: str = BUILT_IN) -> tuple[VerifiableInstruction, ...]:
    """Read the instructions, in the order of the file."""
    return tuple(VerifiableInstruction.model_validate_json(line) for line in file_io.read_bytes(path).splitlines())


def failed_checks(instruction: VerifiableInstruction, reply: str) -> list[str]:
    """Return the kinds of the checks that a reply fails, in their order; an empty reply fails them all."""
    text = reply.strip()
    return [check.kind for check in instruction.checks if not text or not check.holds(text)]


def followed(instruction: VerifiableInstruction, reply: str) -> bool:
    """Return whether a reply passes all checks of the instruction."""
    return not failed_checks(instruction, reply)


def _unfenced(reply: str) -> str:
    """Return the content of a code fence where it is the whole reply, else the reply."""
    opening, _, rest = reply.partition("\n")
    body, _, closing = rest.rpartition("\n")
    fenced = opening.rstrip().lower() in ("```", "```json") and closing.strip() == "```"
    return body if fenced else reply


def _has_word(text: str, word: str) -> bool:
    return bool(re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text, re.IGNORECASE))

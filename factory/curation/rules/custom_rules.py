"""Rules of the user's own (`curation.custom_rules`), which the config defines.

Patterns are those of RE2, which Arrow brings along: its time is linear in the text, so no pattern can hang a run.
"""

import time
from collections.abc import Callable, Sequence
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import ConfigDict, Field, field_validator

from factory.curation.rules.context import DialogueContext
from factory.curation.rules.rule import Rule
from factory.records import Reject

CUSTOM_RULE = "custom_rule"
"""The reject reason; `detail` begins with the rule's name and a colon."""
SHOWN = 100
"""Characters of what was found that `detail` has."""
MAX_PATTERN = 2000
"""Characters of a pattern, as RE2's time grows with it."""
MAX_SECONDS = 0.2
"""The longest that a pattern may compile, which it does for each dialogue: ordinary ones take less than a millisecond,
`\\pL{200}` half a second and then seconds for a text of 100,000 characters."""
_TEXTS: dict[str, Callable[[DialogueContext], Sequence[str]]] = {
    "replies": lambda dialogue: dialogue.replies,
    "requests": lambda dialogue: dialogue.users,
    "profile": lambda dialogue: (dialogue.profile,),
}


class PatternRule(Rule):
    """A regular expression that rejects dialogues in which it occurs, or does not."""

    model_config = ConfigDict(serialize_by_alias=True)

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$")
    """The rule's name, in `detail` of rejected rows and in the manifest."""
    pattern: str = Field(min_length=1, max_length=MAX_PATTERN)
    """A regular expression of RE2: as Python's, without look-around and back-references; `\\w`, `\\d` and `\\b` are
    ASCII only, `\\pL` is any letter. `(?i)` at the beginning ignores case."""
    where: Literal["replies", "requests", "profile"] = Field("replies", alias="in")
    """The texts that are searched: each reply, each user turn, or the profile."""
    when: Literal["found", "missing"] = "found"
    """`found` rejects a dialogue if one of the texts has it, `missing` if none has."""

    @field_validator("pattern")
    @classmethod
    def _compiles(cls, pattern: str) -> str:
        try:
            matches_empty = _is_found(pattern, "")  # also gets Arrow ready, whose first call takes longer
            start = time.process_time()
            _is_found(pattern, "")
        except pa.ArrowInvalid as problem:
            raise ValueError(f"no regular expression of RE2: {str(problem).partition(': ')[2]}") from None
        if matches_empty:
            raise ValueError("it also matches an empty text, so every text has it")
        if time.process_time() - start > MAX_SECONDS:
            raise ValueError("it takes too long to compile; write shorter repeats and smaller classes")
        return pattern

    def find(self, dialogue: DialogueContext) -> str | None:
        """Return in which text the pattern occurs, or that it occurs in none, or None if neither rejects."""
        texts = list(_TEXTS[self.where](dialogue))
        column = pa.array(texts, pa.string())
        starts = pc.find_substring_regex(column, self.pattern).to_pylist()
        number = next((number for number, start in enumerate(starts) if start >= 0), None)
        if self.when == "missing":
            return f"not in the {self.where}" if number is None else None
        if number is None:
            return None
        found = _matched(texts[number], starts[number], self.pattern)
        place = self.where if self.where == "profile" else f"{_ONE[self.where]} {number + 1}"
        return f"{place} has {found!r}"


def _is_found(pattern: str, text: str) -> bool:
    return bool(pc.match_substring_regex(pa.scalar(text), pattern).as_py())


_ONE = {"replies": "reply", "requests": "request"}

CustomRule = PatternRule
"""The kinds of rules; a further kind is a class whose required keys differ, in a union with this one."""


def check_custom_rules(dialogue: DialogueContext, rules: Sequence[CustomRule]) -> Reject | None:
    """Return the first rule that a dialogue breaks, with its name and what was found, or None."""
    for rule in rules:
        if (found := rule.find(dialogue)) is not None:
            return Reject(CUSTOM_RULE, f"{rule.name}: {found}")
    return None


def broken_rule(detail: str) -> str:
    """Return the name of the rule in the detail of a reject."""
    return detail.partition(":")[0]


def _matched(text: str, start: int, pattern: str) -> str:
    """Return the beginning of the first match, which begins at this byte."""
    rest = pc.replace_substring_regex(pa.scalar(text), pattern, "", max_replacements=1).as_py()
    data = text.encode()
    length = len(data) - len(rest.encode())
    return data[start : start + length].decode(errors="ignore")[:SHOWN]

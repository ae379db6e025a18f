"""What the rules read: a profile's items, and what is derived from them once."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from factory.text.language import languages_named
from factory.text.ngrams import is_unspaced, words

LONG = ("appearance", "experience", "personality")
"""The items that are sentences."""
LONG_FROM = 200
"""Characters from which on an item's bound makes it sentences: of the eight, short ones have up to 80, others 400."""
UNSPACED_PER_WORD = 2.5
"""Characters that say as much as a word in scripts without spaces between words, in which each counts as one."""


@dataclass(frozen=True)
class Sheet:
    """A profile that is checked."""

    persona: str
    items: Mapping[str, str]
    """The items by name."""
    language: str
    """In which it was asked for, in English."""
    own: Mapping[str, int] = field(default_factory=dict)
    """The most characters of each item beside the eight."""

    @cached_property
    def long(self) -> dict[str, str]:
        """The items that are sentences."""
        return {name: self.items[name] for name in (*LONG, *self.own_long)}

    @property
    def own_long(self) -> tuple[str, ...]:
        """The items beside the eight that are sentences."""
        return tuple(name for name, bound in self.own.items() if bound >= LONG_FROM)

    @cached_property
    def words(self) -> dict[str, list[str]]:
        """The words of each item, without case and punctuation."""
        return {name: words(text) for name, text in self.items.items()}

    @cached_property
    def story(self) -> str:
        """The long items as one text."""
        return " ".join(self.long.values())

    @cached_property
    def languages(self) -> frozenset[str]:
        """The languages that it was asked for in, by lingua's names; none if its name is not known."""
        return languages_named(self.language)

    @property
    def is_english(self) -> bool:
        """Whether it was asked for in English alone."""
        return self.languages == {"ENGLISH"}


def word_count(found: list[str]) -> float:
    """Return how many words a text has, in which characters of scripts without spaces are parts of words."""
    unspaced = sum(map(is_unspaced, found))
    return len(found) - unspaced + unspaced / UNSPACED_PER_WORD

"""Figures of a set of replies: their openings, and how many have no first person."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from factory.population.first_person import has_first_person
from factory.population.hash_sample import VALUE_CHARACTERS, HashSample, sample_keys, top_values
from factory.text.ngrams import is_unspaced, words

OPENING_WORDS = 3
OPENING_CHARACTERS = 6
"""Of an opening in a script without spaces: about three words."""
READ_CHARACTERS = 400
"""Of a reply, for its opening."""
TOP_OPENINGS = 5


@dataclass
class ReplyFigures:
    """Figures of replies; added up the same in any order."""

    openings: HashSample = field(default_factory=HashSample)
    impersonal: int = 0
    """Replies without a first person."""
    detected: int = 0
    """Replies in languages whose first person is known."""

    def add(self, dialogue: int, replies: Sequence[str], language: str) -> None:
        """Add the replies of a dialogue, given by its 64-bit id; `language` is its name in small letters."""
        numbers = np.uint64(dialogue) + np.arange(len(replies), dtype=np.uint64)  # wraps around
        for key, reply in zip(sample_keys(numbers), replies, strict=True):
            if self.openings.wants(key):
                self.openings.add(key, opening(reply))
            found = has_first_person(reply, language)
            self.detected += found is not None
            self.impersonal += found is False

    def __add__(self, other: "ReplyFigures") -> "ReplyFigures":
        return ReplyFigures(
            self.openings + other.openings, self.impersonal + other.impersonal, self.detected + other.detected
        )

    def to_manifest(self) -> dict[str, Any]:
        """Return the figures for the manifest."""
        sampled = self.openings.values()
        return {
            "sampled": len(sampled),
            "top": {"opening": top_values(sampled, TOP_OPENINGS)},
            "no_first_person": {"number": self.impersonal, "of": self.detected},
        }


def opening(reply: str) -> str:
    """Return the first words of a reply, or characters in a script without spaces."""
    first = words(reply[:READ_CHARACTERS])[:OPENING_CHARACTERS]
    if first and is_unspaced(first[0]):
        return "".join(first)[:VALUE_CHARACTERS]
    return " ".join(first[:OPENING_WORDS])[:VALUE_CHARACTERS]

"""The rule `too_short`."""

import re

from pydantic import Field

from factory.curation.rules.context import DialogueContext
from factory.curation.rules.rule import Rule

_WORD = re.compile(r"[^\W\d_]{2}|[^\W\d_A-Za-z\u00c0-\u024f\u0370-\u052f]")
"""Two letters, or one of a script in which one may be a word."""


class TooShort(Rule):
    """A reply has too few words, or only numbers and symbols."""

    min_words: int = Field(3, ge=1)
    """The fewest words of a reply (characters, in scripts without spaces)."""

    def find(self, dialogue: DialogueContext) -> str | None:
        """Return which reply is too short, or None."""
        for number, (reply, hashes) in enumerate(zip(dialogue.replies, dialogue.reply_hashes, strict=True), 1):
            if len(hashes) < self.min_words:
                return f"reply {number} has {len(hashes)} words"
            if not _WORD.search(reply):
                return f"reply {number} has only numbers and symbols"
        return None

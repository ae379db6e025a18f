"""The rule `copied_reference`."""

import numpy as np
from pydantic import Field

from factory.curation.rules.context import LONG_REPLY, DialogueContext
from factory.curation.rules.rule import Rule
from factory.text.ngrams import shingles, word_hashes


class CopiedReference(Rule):
    """A rewritten reply is a copy of its reference; a short one may be, beside others that are not."""

    threshold: float = Field(0.9, gt=0, le=1)
    """The Jaccard similarity, by three-word shingles, from which on a reply is a copy."""

    def find(self, dialogue: DialogueContext) -> str | None:
        """Return which reply is a copy, or None."""
        replies = dialogue.reply_hashes
        copied = [
            number
            for number, (reply, reference) in enumerate(zip(replies, dialogue.references, strict=False), 1)
            if _jaccard(reply, word_hashes(reference)) >= self.threshold
        ]
        long = [number for number in copied if len(replies[number - 1]) >= LONG_REPLY]
        if long or (copied and len(copied) == len(replies)):
            return f"reply {(long or copied)[0]} is its reference"
        return None


def _jaccard(left: np.ndarray, right: np.ndarray) -> float:
    first, second = shingles(left, 3), shingles(right, 3)
    common = len(np.intersect1d(first, second, assume_unique=True))
    return common / max(1, len(first) + len(second) - common)

"""The rule `repetition`."""

import re

import numpy as np
from pydantic import Field

from factory.curation.rules.context import LONG_REPLY, DialogueContext
from factory.curation.rules.rule import Rule
from factory.text.language import prose
from factory.text.ngrams import ngrams, word_hashes

NGRAM_WORDS = 6
"""A sequence of this many words is repeated by the reply's own doing, not by the language's."""
MIN_NGRAMS = 20
"""With fewer n-grams a fraction means nothing."""
LOOP_TIMES, LOOP_WORDS, LOOP_PERIOD = 4, 24, 60
"""A loop is a phrase of at most LOOP_PERIOD words, LOOP_TIMES or more without a gap, in LOOP_WORDS or more."""

_NUMBERING = re.compile(r"(?m)^[ \t]*(?:[-*•+\u2013]|\d+[.)])[ \t]+")
_STUTTER = re.compile(r"([^\W\d_]{1,8}?)\1{14,}")
"""The same letters over and over, without a space between."""


class Repetition(Rule):
    """A reply repeats itself, or the same long reply appears twice."""

    max_fraction: float = Field(0.5, gt=0, le=1)
    """How much of a reply may have appeared in it before. A song with a refrain has about 0.3."""

    def find(self, dialogue: DialogueContext) -> str | None:
        """Return what is repeated, or None."""
        for number, reply in enumerate(dialogue.replies, 1):
            found = _repeated(_NUMBERING.sub("", prose(reply)), self.max_fraction)
            if found:
                return f"reply {number}: {found}"
        long = [hashes.tobytes() for hashes in dialogue.reply_hashes if len(hashes) >= LONG_REPLY]
        return "the same reply twice" if len(set(long)) < len(long) else None


def _repeated(text: str, max_fraction: float) -> str | None:
    stutter = _STUTTER.search(text)
    if stutter:
        return f"{stutter[0][:40]!r}"
    hashes = word_hashes(text)
    total = len(hashes) - NGRAM_WORDS + 1
    repeated = total - len(np.unique(ngrams(hashes, NGRAM_WORDS)))
    if total >= MIN_NGRAMS and repeated > max_fraction * total:
        return f"{repeated / total:.0%} of it repeats earlier words"
    # Every loop repeats more n-grams than this, and few replies repeat as many.
    return _loop(hashes) if repeated > LOOP_WORDS // 2 else None


def _loop(hashes: np.ndarray) -> str | None:
    for period in range(1, min(LOOP_PERIOD, len(hashes) // LOOP_TIMES) + 1):
        same = np.concatenate([[False], hashes[period:] == hashes[:-period], [False]])
        changes = np.flatnonzero(same[1:] != same[:-1])
        longest = int((changes[1::2] - changes[::2]).max(initial=0)) + period
        if longest >= max(LOOP_TIMES * period, LOOP_WORDS):
            return f"{period} words {longest // period} times in a row"
    return None

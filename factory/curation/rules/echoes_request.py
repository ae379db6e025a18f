"""The rule `echoes_request`."""

import re

import numpy as np
from pydantic import Field

from factory.curation.rules.context import DialogueContext
from factory.curation.rules.rule import Rule
from factory.text.ngrams import contained, ngrams, shingles, word_hashes

WORDS = 3
MIN_NGRAMS = 5
_GIVEN_TEXT = re.compile(r"[:\"“«„「『：]|\n")  # noqa: RUF001 - in many scripts
"""What separates a task from a text that is to be edited, sorted or repeated, which a reply may hold."""


class EchoesRequest(Rule):
    """A reply is the user's request once more, in place of an answer."""

    max_echo: float = Field(0.6, gt=0, le=1)
    """The fraction of a reply's three-word n-grams that may be in the request. Where that includes a text to work on,
    the same fraction of the task before it must also be in the reply."""

    def find(self, dialogue: DialogueContext) -> str | None:
        """Return which reply repeats its request, or None."""
        for number, (reply, user) in enumerate(zip(dialogue.reply_hashes, dialogue.users, strict=False), 1):
            said = ngrams(reply, WORDS)
            if len(said) < MIN_NGRAMS:
                continue
            echo = contained(said, shingles(word_hashes(user), WORDS)).mean()
            if echo > self.max_echo and self._has_task(said, user.strip()):
                return f"{echo:.0%} of reply {number}"
        return None

    def _has_task(self, said: np.ndarray, user: str) -> bool:
        text = _GIVEN_TEXT.search(user)
        if text is None:
            return True
        task = shingles(word_hashes(user[: text.start()]), WORDS)
        return bool(len(task)) and contained(task, np.unique(said)).mean() > self.max_echo

"""The rule `unfinished_sentence`."""
# ruff: noqa: RUF001 - sentences end in many scripts

import re
from collections.abc import Collection

from pydantic import Field

from factory.curation.rules.context import DialogueContext
from factory.curation.rules.endings import is_complete
from factory.curation.rules.rule import Rule
from factory.text.ngrams import words

_LIST_ITEM = re.compile(r"\s*(?:[-*•+–]|\d+[.)])\s|\s*[|#]")
_UNFINISHED = re.compile(r"[\w,:(\[{&+=]\Z")
_SENTENCE_END = re.compile(r"[.!?…。！？｡।॥؟۔։።၊။។]")
_NO_FULL_STOP = re.compile(r"[\u0e00-\u0eff]\Z")
"""Thai and Lao end sentences with a space."""


class UnfinishedSentence(Rule):
    """A reply ends in the middle of a sentence or of a code block."""

    min_words: int = Field(12, ge=1)
    """A last line with at least this many words must end like a sentence or a text; lines of verse are shorter."""

    def find(self, dialogue: DialogueContext) -> str | None:
        """Return which reply is unfinished, or None."""
        for number, reply in enumerate(dialogue.replies, 1):
            if reply.count("```") % 2:
                return f"reply {number} does not close its code block"
            *before, last = reply.rstrip().splitlines() or [""]
            if len(words(last)) >= self.min_words and _is_unfinished(before, last, dialogue.names):
                return f"reply {number} ends with: {last[-60:]}"
        return None


def _is_unfinished(before: list[str], last: str, names: Collection[str]) -> bool:
    if not _UNFINISHED.search(last) or _NO_FULL_STOP.search(last) or is_complete(last, names):
        return False
    # Some write all lines, or all items of a list, without full stops.
    peers = [line for line in before if bool(_LIST_ITEM.match(line)) == bool(_LIST_ITEM.match(last))]
    earlier = "" if _LIST_ITEM.match(last) else last
    return any(_SENTENCE_END.search(line.rstrip()[-1:]) for line in peers) or bool(_SENTENCE_END.search(earlier))

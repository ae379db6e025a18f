"""The rule `speaks_for_user`."""

import re
from collections import Counter
from collections.abc import Collection

import numpy as np

from factory.curation.rules import phrases
from factory.curation.rules.context import DialogueContext
from factory.curation.rules.rule import Rule
from factory.text.language import prose
from factory.text.ngrams import contained, ngrams, shingles, word_hashes

ECHO_WORDS = 6
"""A later user turn of at least this many words does not appear in a reply by chance."""


class SpeaksForUser(Rule):
    """A reply continues with a user turn, or puts the names of the chat's roles before its lines."""

    def find(self, dialogue: DialogueContext) -> str | None:
        """Return the role line or the user turn, or None."""
        user_text = dialogue.user_text.casefold()
        for number, (reply, hashes) in enumerate(zip(dialogue.replies, dialogue.reply_hashes, strict=True), 1):
            roles = [match for match in phrases.ROLE_LINE.finditer(prose(reply)) if _role(match) not in user_text]
            if roles and not _is_script(reply, dialogue.names):
                return roles[0][0].strip()
            for later in dialogue.users[number:]:
                turn = word_hashes(later)
                grams = np.sort(ngrams(hashes, len(turn)))
                if len(turn) >= ECHO_WORDS and contained(shingles(turn, len(turn)), grams).any():
                    return later[:200]
        return None


def _role(line: re.Match[str]) -> str:
    return (line[1] or line[2]).casefold()


def _is_script(reply: str, names: Collection[str]) -> bool:
    """Return whether anyone but the character and the chat's roles speaks twice, as in a play."""
    own = {name.casefold() for name in names}
    labels = Counter(match[1].casefold() for match in phrases.LABEL.finditer(reply))
    return any(times > 1 and label not in own and not phrases.ROLE.fullmatch(label) for label, times in labels.items())

"""The rule `leaked_prompt`."""

from functools import lru_cache

import numpy as np
from pydantic import Field

from factory.curation.rules import phrases
from factory.curation.rules.context import DialogueContext
from factory.curation.rules.rule import Rule
from factory.text.control_tokens import find_control_token, has_control_tokens
from factory.text.language import prose
from factory.text.ngrams import contained, ngrams, word_hashes, words

PROFILE_LINES = 2
"""This many whole lines of the profile are a leak; a single line may be an answer."""


class LeakedPrompt(Rule):
    """A reply holds a control token or a prompt's heading, or recites a prompt, the persona or the profile."""

    min_words: int = Field(12, ge=4)
    """This many words in a row of the profile, the persona or a prompt are a leak."""

    def find(self, dialogue: DialogueContext) -> str | None:
        """Return what leaked, or None."""
        user_text = dialogue.user_text
        profile_lines = _lines(dialogue.profile)
        for reply, hashes in zip(dialogue.replies, dialogue.reply_hashes, strict=True):
            token = find_control_token(reply)
            if token and token not in user_text and not has_control_tokens(user_text):
                return token
            match = phrases.HEADING.search(prose(reply))
            if match and not phrases.HEADING.search(user_text):
                return match[0].strip()
            lines = [line.strip() for line in reply.splitlines() if " ".join(words(line)) in profile_lines]
            if len(lines) >= PROFILE_LINES:
                return "; ".join(lines)
            found = self._recited(dialogue, reply, hashes)
            if found:
                return found
        return None

    def _recited(self, dialogue: DialogueContext, reply: str, hashes: np.ndarray) -> str | None:
        """Return words in a row that come from the profile, the persona or a prompt, and not from the user."""
        n = self.min_words
        grams = ngrams(hashes, n)
        for text in (dialogue.profile, dialogue.persona, *dialogue.prompts):
            for start in np.flatnonzero(contained(grams, _text_ngrams(text, n))).tolist():
                given = (_text_ngrams(turn, n) for turn in dialogue.users + dialogue.references)
                if not any(contained(grams[[start]], known).any() for known in given):
                    return " ".join(words(reply)[start : start + n])
        return None


@lru_cache(64)
def _lines(profile: str) -> frozenset[str]:
    return frozenset(" ".join(words(line)) for line in profile.splitlines()) - {""}


@lru_cache(256)
def _text_ngrams(text: str, n: int) -> np.ndarray:
    return np.unique(ngrams(word_hashes(text), n))

"""The rule `wrong_language`, and the language of a text."""

from itertools import islice

from pydantic import Field

from factory.curation.rules.context import DialogueContext
from factory.curation.rules.rule import Rule
from factory.text.language import detect_expected, languages_named, likelihood, prose, with_similar

MIN_LIKELIHOOD, MIN_USER_LETTERS = 0.25, 20
"""A user turn of this many letters allows replies in a language that it has with this probability."""


class WrongLanguage(Rule):
    """A reply is neither in the characters' language nor in one that the dialogue gives cause for.

    That is the language of a user turn or of a reference, or one that a user turn names.
    """

    min_letters: int = Field(60, ge=1)
    """Replies with fewer letters are too short for the detector."""
    min_confidence: float = Field(0.9, ge=0, le=1)
    """The lowest probability of a detected language that counts."""

    def find(self, dialogue: DialogueContext) -> str | None:
        """Return which reply is in which language, or None."""
        if not dialogue.languages:
            return None
        expected = with_similar(dialogue.languages)
        for number, reply in enumerate(dialogue.replies, 1):
            language = self.detect(reply, dialogue.languages)
            if language and language not in expected and not self._has_cause(language, dialogue):
                return f"reply {number} is in {language.title()}"
        return None

    def detect(self, text: str, expected: frozenset[str] = frozenset()) -> str | None:
        """Return the language of a text, or None where it is too short or the detector is not sure.

        A sample of the text suffices for one of the expected languages.
        """
        written = prose(text)
        if not _has_letters(written, self.min_letters):
            return None
        language, confidence = detect_expected(written, expected, self.min_confidence) or ("", 0.0)
        return language if confidence >= self.min_confidence else None

    def _has_cause(self, language: str, dialogue: DialogueContext) -> bool:
        similar = with_similar(frozenset({language}))
        if similar & languages_named(dialogue.user_text):
            return True
        # By itself a turn of a word or two may be in many languages.
        long = [text for text in dialogue.users + dialogue.references if _has_letters(text, MIN_USER_LETTERS)]
        for text in [dialogue.user_text, *long]:
            detected = self.detect(text)
            candidates = dialogue.languages | {detected or language}
            if detected in similar or likelihood(prose(text), language, candidates) >= MIN_LIKELIHOOD:
                return True
        return False


def _has_letters(text: str, count: int) -> bool:
    letters = (character for character in text if character.isalpha())
    return next(islice(letters, count - 1, None), None) is not None

"""The rule `only_question`."""

import re

from pydantic import Field

from factory.curation.rules.context import DialogueContext
from factory.curation.rules.rule import Rule
from factory.text.ngrams import words

_QUESTION = re.compile(r"[^.!。！।॥?？؟;՞]*+(?:[?？؟՞]|(?<=[\u0370-\u03ff]);)\W{0,8}\Z")  # noqa: RUF001 - in many scripts
_MARKS = "?？؟;՞"  # noqa: RUF001
"""Of Latin, Chinese, Arabic, Greek and Armenian texts."""
_GESTURE = re.compile(r"\*[^*\n]{1,200}\*")
_ASKED_FOR = re.compile(
    r"question|\bask|riddle|quiz|survey|interview|inquir|interrogat|pregunta|frage|fragst|domand|pergunt|вопрос|спрос"
    r"|質問|质问|问题|提问|問い|질문|물어|سؤال|أسئلة|اسأل|प्रश्न|सवाल|คำถาม|câu hỏi|soru|pytani|vraag",
    re.IGNORECASE,
)
"""Requests for a question."""


class OnlyQuestion(Rule):
    """A dialogue ends with a reply that is a single question, though the user asked for none."""

    min_words: int = Field(4, ge=1)
    """The fewest words of such a reply, and of a request that it does not answer."""

    def find(self, dialogue: DialogueContext) -> str | None:
        """Return the question, or None."""
        if not dialogue.replies or not dialogue.users:
            return None
        reply, user = dialogue.replies[-1], dialogue.users[-1]
        if not _is_question(reply) or _ASKED_FOR.search(user):
            return None
        if any(map(_is_question, dialogue.references[-1:])):
            return None
        is_long = min(len(words(reply)), len(words(user))) >= self.min_words
        return reply.strip()[-80:] if is_long else None


def _is_question(text: str) -> bool:
    spoken = _GESTURE.sub("", text)
    return any(mark in spoken[-10:] for mark in _MARKS) and _QUESTION.match(spoken) is not None

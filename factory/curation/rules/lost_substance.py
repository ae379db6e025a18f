"""The rule `lost_substance`."""

from pydantic import Field

from factory.curation.rules.context import DialogueContext
from factory.curation.rules.rule import Rule
from factory.text.content import stems, without_code
from factory.text.language import differ_in_language
from factory.text.ngrams import word_hashes


class LostSubstance(Rule):
    """A rewritten reply in its reference's language is much shorter, or about something else."""

    min_length: float = Field(0.34, ge=0, le=1)
    """The least length of a reply, as a fraction of its reference's words."""
    min_words: int = Field(40, ge=1)
    """The fewest words of a reference whose length is compared."""
    max_lost: float = Field(0.85, ge=0, le=1)
    """The fraction of the reference's word stems that may be missing; one faithful rewrite lacked 0.82."""
    min_stems: int = Field(12, ge=1)
    """The fewest stems of a reference that are compared."""

    def find(self, dialogue: DialogueContext) -> str | None:
        """Return how much is missing, or None."""
        for reply, reference in zip(dialogue.replies, dialogue.references, strict=False):
            found = self._shorter(reply, reference) or self._other(reply, reference)
            if found and not differ_in_language(reply, reference):
                return found
        return None

    def _shorter(self, reply: str, reference: str) -> str | None:
        said, given = len(word_hashes(reply)), len(word_hashes(reference))
        return f"{said} words of {given}" if given >= self.min_words and said < self.min_length * given else None

    def _other(self, reply: str, reference: str) -> str | None:
        given = stems(without_code(reference))
        if len(given) < self.min_stems:
            return None
        lost = len(given - stems(reply)) / len(given)
        return f"{lost:.0%} of the words" if lost > self.max_lost else None

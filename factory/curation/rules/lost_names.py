"""The rule `lost_names`."""

from pydantic import Field

from factory.curation.rules.context import DialogueContext
from factory.curation.rules.rule import Rule
from factory.text.content import names, without_code
from factory.text.language import differ_in_language
from factory.text.ngrams import words

NAME_STEM = 4
"""Letters by which a name is found in an inflected form, as `America` in `American`."""


class LostNames(Rule):
    """A rewritten reply lacks names of its reference: words with a capital, where not all nouns have one."""

    max_lost: float = Field(0.5, ge=0, lt=1)
    """The fraction of the reference's names that may be missing; any word of a name suffices."""
    min_names: int = Field(3, ge=1)
    """The fewest names of a reference that is compared."""

    def find(self, dialogue: DialogueContext) -> str | None:
        """Return which names are missing, or None."""
        for reply, reference in zip(dialogue.replies, dialogue.references, strict=False):
            given = names(without_code(reference))
            if len(given) < self.min_names:
                continue
            said = {word[:NAME_STEM] for word in words(reply)}
            lost = sorted(name for name in given if not said & {word[:NAME_STEM] for word in words(name)})
            if len(lost) > self.max_lost * len(given) and not differ_in_language(reply, reference):
                return f"{len(lost)} of {len(given)} names: {', '.join(lost[:5])}"
        return None

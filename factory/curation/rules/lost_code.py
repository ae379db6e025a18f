"""The rule `lost_code`."""

import re

from pydantic import Field

from factory.curation.rules.context import DialogueContext
from factory.curation.rules.rule import Rule
from factory.text.content import code_blocks
from factory.text.ngrams import words

_INLINE = re.compile(r"`[^`\n]{1,400}`")


class LostCode(Rule):
    """A rewritten reply has none of the code blocks of its reference."""

    min_kept: float = Field(0.75, gt=0, le=1)
    """The fraction of the code's words that must be within sentences as `code`, in a reply without a block."""

    def find(self, dialogue: DialogueContext) -> str | None:
        """Return how many code blocks are missing, or None."""
        for reply, reference in zip(dialogue.replies, dialogue.references, strict=False):
            blocks = [] if "```" in reply else code_blocks(reference)
            code = set(words("\n".join(blocks)))
            kept = code & set(words(" ".join(_INLINE.findall(reply)))) if code else code
            if len(kept) < self.min_kept * len(code):
                return f"{len(blocks)} code blocks"
        return None

"""The rule `leaked_thoughts`."""

from factory.curation.rules.context import DialogueContext
from factory.curation.rules.rule import Rule
from factory.text.language import prose
from factory.text.thoughts import find_thought_mark


class LeakedThoughts(Rule):
    """A reply holds what is left of a reasoning model's thoughts, such as `</think>` or `<reasoning>` before a line."""

    def find(self, dialogue: DialogueContext) -> str | None:
        """Return the mark of the thoughts, or None."""
        user_text = dialogue.user_text.casefold()
        for reply in dialogue.replies:
            mark = find_thought_mark(prose(reply))
            if mark and mark.casefold() not in user_text:
                return mark
        return None

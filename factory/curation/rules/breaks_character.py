"""The rule `breaks_character`."""

from factory.curation.rules import phrases
from factory.curation.rules.context import DialogueContext
from factory.curation.rules.rule import Rule


class BreaksCharacter(Rule):
    """A reply speaks as the assistant behind the character, unless the character is such a machine."""

    def find(self, dialogue: DialogueContext) -> str | None:
        """Return the phrase that breaks the character, or None."""
        character = f"{dialogue.persona}\n{dialogue.profile}"
        for reply in dialogue.replies:
            text = _without_quotations(reply)
            folded = text.casefold()
            found = [phrases.MODEL.search(text) if any(word in folded for word in phrases.MODEL_WORDS) else None]
            machine = phrases.MACHINE.search(text)
            if machine and not phrases.IS_MACHINE.search(character):
                found.append(machine)
            for match in phrases.ASSISTANT.finditer(text):
                name = match[1] or match[2]
                found.append(None if name.casefold() in character.casefold() else match)
            about_user = phrases.ABOUT_USER.search(text)
            if about_user and not phrases.USER.search(f"{character}\n{dialogue.user_text}"):
                found.append(about_user)
            for match in filter(None, found):
                return match[0].strip()
        return None


def _without_quotations(reply: str) -> str:
    """Return the reply without quotations, whose speaker is someone else; all of it where most is quoted."""
    rest = phrases.QUOTED.sub(" ", reply)
    return rest if len(rest.strip()) * 2 >= len(reply) else reply

"""A conversation with one character: what was said, as one message history a model."""

import itertools
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from factory.inference.prompts import Prompt
from factory.records import Feedback, Message, Persona, content_id

VOTES = {True: "up", False: "down"}
"""A vote by what the page calls it; anything else takes it back."""
_NUMBERS = itertools.count(1)
"""Of votes. A conversation lives in one process, so all votes on a reply have theirs from here."""


@dataclass(frozen=True)
class Turn:
    """What the person said, and what each model replied, by its name; one that failed has no reply."""

    user: str
    replies: Mapping[str, str]
    whole: bool = True
    """Whether the replies are written to their ends."""


@dataclass(frozen=True)
class Conversation:
    """All that one session says to a character; `chance` tells equal conversations apart."""

    chance: str
    persona: Persona
    profile: str
    system: Message
    turns: tuple[Turn, ...] = field(default=())

    @property
    def session_id(self) -> str:
        """A hash of its random id: what is kept tells nobody how to reach the session."""
        return content_id(self.chance)

    def messages(self, name: str, turns: int | None = None) -> tuple[Message, ...]:
        """What a model is shown: the system message, and user and assistant in turn.

        A turn that the model did not reply to is left out.
        """
        said = (turn for turn in self.turns[:turns] if turn.replies.get(name))
        pairs = ((Message("user", turn.user), Message("assistant", turn.replies[name])) for turn in said)
        return (self.system, *(message for pair in pairs for message in pair))

    def with_turn(self, turn: Turn) -> "Conversation":
        """The same, one turn later."""
        return replace(self, turns=(*self.turns, turn))


def begin(chance: str, persona: Persona, profile: str, system: Prompt) -> Conversation:
    """A conversation in which nothing was said; the system message is that of training."""
    (message,) = system.render(persona=persona.persona, profile=profile)
    return Conversation(chance, persona, profile, message)


def shown(conversation: Conversation, name: str) -> list[dict[str, str]]:
    """A model's side as the page shows it; what failed stands as an empty reply's place."""
    return [
        message
        for turn in conversation.turns
        for message in (
            {"role": "user", "content": turn.user},
            {"role": "assistant", "content": turn.replies.get(name) or "(no reply)"},
        )
    ]


def exported(conversation: Conversation) -> str:
    """The conversation as JSON, one object of chat messages a model, as the factory reads them."""
    names = dict.fromkeys(name for turn in conversation.turns for name in turn.replies)
    sides = [
        {
            "model": name,
            "messages": [{"role": m.role, "content": m.content} for m in conversation.messages(name)],
        }
        for name in names
    ]
    return json.dumps(sides, indent=2, ensure_ascii=False)


def feedback(conversation: Conversation, name: str, turn: int, liked: object) -> Feedback | None:
    """A vote on the reply to a turn (from 0); None where there is no such reply, or it is still being written.

    Its id is that of the reply, so that the last vote on a reply is the only one.
    """
    if not 0 <= turn < len(conversation.turns):
        return None
    if not conversation.turns[turn].whole or not conversation.turns[turn].replies.get(name):
        return None
    return Feedback(
        feedback_id=content_id(conversation.session_id, str(turn), name),
        session_id=conversation.session_id,
        candidate=name,
        character_id=conversation.persona.character_id,
        persona=conversation.persona.persona,
        profile=conversation.profile,
        turn=turn,
        messages=conversation.messages(name, turn + 1),
        vote=VOTES[liked] if isinstance(liked, bool) else "none",
        time=datetime.now(UTC).isoformat(timespec="microseconds"),
        number=next(_NUMBERS),
    )

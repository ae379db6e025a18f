"""A conversation with one character: one message history per model."""

import itertools
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from factory.inference.prompts import Prompt
from factory.records import Feedback, Message, Persona, content_id

VOTES = {True: "up", False: "down"}
"""Votes by gradio's value `liked`; any other value withdraws the vote."""
_VOTE_NUMBERS = itertools.count(1)
"""Orders votes. A conversation lives in one process, so all votes on a reply are numbered here."""


@dataclass(frozen=True)
class Turn:
    """A message of the user and the reply of each model, by name; a model that failed has none."""

    user: str
    replies: Mapping[str, str]
    complete: bool = True
    """Whether the models have finished their replies."""


@dataclass(frozen=True)
class Conversation:
    """What one session and a character have said; `random_id` distinguishes equal conversations."""

    random_id: str
    persona: Persona
    profile: str
    system: Message
    turns: tuple[Turn, ...] = field(default=())

    @property
    def session_id(self) -> str:
        """A hash of the random id, so that stored votes give no access to the session."""
        return content_id(self.random_id)

    def messages(self, name: str, turns: int | None = None) -> tuple[Message, ...]:
        """Return the input of a model: the system message, then user and assistant alternately.

        Turns without a reply of this model are left out.
        """
        replied = (turn for turn in self.turns[:turns] if turn.replies.get(name))
        pairs = ((Message("user", turn.user), Message("assistant", turn.replies[name])) for turn in replied)
        return (self.system, *(message for pair in pairs for message in pair))

    def with_turn(self, turn: Turn) -> "Conversation":
        """Return the conversation with one more turn."""
        return replace(self, turns=(*self.turns, turn))


def start_conversation(random_id: str, persona: Persona, profile: str, system: Prompt) -> Conversation:
    """Return a conversation without turns, whose system message is that of training."""
    (message,) = system.render(persona=persona.persona, profile=profile)
    return Conversation(random_id, persona, profile, message)


def displayed_messages(conversation: Conversation, name: str) -> list[dict[str, str]]:
    """Return the messages of one model's column on the page, with a placeholder for each missing reply."""
    return [
        message
        for turn in conversation.turns
        for message in (
            {"role": "user", "content": turn.user},
            {"role": "assistant", "content": turn.replies.get(name) or "(no reply)"},
        )
    ]


def export_json(conversation: Conversation) -> str:
    """Return the conversation as JSON, one object of chat messages per model, which the factory can read."""
    names = dict.fromkeys(name for turn in conversation.turns for name in turn.replies)
    histories = [
        {
            "model": name,
            "messages": [{"role": m.role, "content": m.content} for m in conversation.messages(name)],
        }
        for name in names
    ]
    return json.dumps(histories, indent=2, ensure_ascii=False)


def build_feedback(conversation: Conversation, name: str, turn: int, liked: object) -> Feedback | None:
    """Return a vote on the reply to a turn (from 0); None if there is no such reply, or it is incomplete.

    The vote has the id of the reply, so that only the last vote on a reply counts.
    """
    if not 0 <= turn < len(conversation.turns):
        return None
    if not conversation.turns[turn].complete or not conversation.turns[turn].replies.get(name):
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
        number=next(_VOTE_NUMBERS),
    )

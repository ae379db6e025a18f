"""An assignment to a dialogue: generated turn by turn (G), or rewritten as a whole (R).

Both ask the model with a prompt of their own; the finished dialogue starts with the system message
that training uses, the same for both.
"""

import json
from dataclasses import dataclass

from factory.config import Strategy
from factory.inference.json_reply import extract_json_object
from factory.inference.prompts import Prompt
from factory.records import Assignment, Completion, Dialogue, Message, Reject, Request, content_id
from factory.text.normalize import is_text

SHORTEST_BOUND = 512


@dataclass(frozen=True)
class Style:
    """How dialogues of one table are made."""

    strategy: Strategy
    prompt: Prompt
    system: Prompt
    """The training system message."""
    made_by: str
    """Model and sampling, as the id of a dialogue takes them in."""


def render_dialogue(style: Style, assignment: Assignment) -> Request | Reject:
    """Ask for the replies of an assignment."""
    messages = assignment.messages
    about = {"persona": assignment.persona, "profile": assignment.profile}
    if style.strategy == "generate":
        first, *later = (m.content for m in messages if m.role == "user")
        return Request(style.prompt.render(**about, user_turn=first), follow_ups=tuple(later))
    references = [m.content for m in messages if m.role == "assistant"]
    if len(references) * 2 != len(messages):
        return Reject("no_reference", "a user turn has no response to rewrite")
    turns = [{"role": m.role, "content": m.content} for m in messages]
    prompt = style.prompt.render(**about, turns=turns, replies=str(len(references)))
    return Request(prompt, schema=_replies_schema(references))


def _replies_schema(references: list[str]) -> str:
    """As many replies as went in, each at most about three times as long as the longest of them.

    Bounds go in powers of two, so that an engine compiles a few grammars and not one a row.
    """
    bound = SHORTEST_BOUND
    while bound < 3 * max(map(len, references)):
        bound *= 2
    replies = {
        "type": "array",
        "items": {"type": "string", "minLength": 1, "maxLength": bound},
        "minItems": len(references),
        "maxItems": len(references),
    }
    schema = {
        "type": "object",
        "properties": {"replies": replies},
        "required": ["replies"],
        "additionalProperties": False,
    }
    return json.dumps(schema)


def parse_dialogue(style: Style, assignment: Assignment, completion: Completion) -> Dialogue | Reject:
    """Put the replies between the user turns, or give the reason why that is not possible."""
    users = [m.content for m in assignment.messages if m.role == "user"]
    replies = _replies(style, completion, len(users))
    if isinstance(replies, Reject):
        return replies
    spoken = [reply.strip() for reply in replies]
    if not all(spoken):
        return Reject("empty_reply", "\n\n".join(replies))
    if not all(map(is_text, spoken)):
        return Reject("invalid_text", "\n\n".join(replies))
    (system,) = style.system.render(persona=assignment.persona, profile=assignment.profile)
    turns = (
        m
        for user, reply in zip(users, spoken, strict=True)
        for m in (Message("user", user), Message("assistant", reply))
    )
    return Dialogue(**dialogue_ids(style, assignment), messages=(system, *turns))


def _replies(style: Style, completion: Completion, turns: int) -> list[str] | Reject:
    if style.strategy == "generate":
        return list(completion.replies)
    (reply,) = completion.replies
    replies = (extract_json_object(reply) or {}).get("replies")
    if not isinstance(replies, list) or not all(isinstance(text, str) for text in replies):
        return Reject("invalid_reply", reply)
    if len(replies) != turns:
        return Reject("wrong_turns", f"{len(replies)} replies for {turns} turns: {reply}")
    return replies


def dialogue_ids(style: Style, assignment: Assignment) -> dict[str, str]:
    """Return the columns that a dialogue and its reject share."""
    made_with = (style.strategy, style.prompt.ref, style.system.ref, style.made_by)
    return {
        "dialogue_id": content_id(assignment.character_id, assignment.instruction_id, *made_with),
        "strategy": style.strategy,
        "corpus": assignment.corpus,
        "instruction_id": assignment.instruction_id,
        "character_id": assignment.character_id,
    }

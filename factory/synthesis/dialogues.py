"""Dialogues: an assignment to a dialogue, generated turn by turn (G) or rewritten as a whole (R).

Each strategy has its own prompt; dialogues of both start with the system message that training uses.
"""

import json
from dataclasses import dataclass
from typing import Any

from factory.config import Strategy
from factory.inference.json_reply import extract_json_object
from factory.inference.prompts import Prompt
from factory.records import (
    Assignment,
    AssignmentDraw,
    CandidateDialogue,
    Completion,
    Dialogue,
    Message,
    Reject,
    Request,
    content_id,
)
from factory.text.normalize import is_text

MIN_REPLY_BOUND = 512


@dataclass(frozen=True)
class DialogueRecipe:
    """How the dialogues of a table are generated."""

    strategy: Strategy
    prompt: Prompt
    system: Prompt
    """The training system message."""
    generated_by: str
    """Model and sampling, which are part of a dialogue's id."""


def render_dialogue(recipe: DialogueRecipe, assignment: Assignment) -> Request | Reject:
    """Return the request for the replies of an assignment."""
    messages, draw = assignment.messages, getattr(assignment, "candidate", 0)
    about = {"persona": assignment.persona, "profile": assignment.profile}
    if recipe.strategy == "generate":
        first, *later = (m.content for m in messages if m.role == "user")
        return Request(recipe.prompt.render(**about, user_turn=first), follow_ups=tuple(later), draw=draw)
    references = [m.content for m in messages if m.role == "assistant"]
    if len(references) * 2 != len(messages):
        return Reject("no_reference", "a user turn has no response to rewrite")
    turns = [{"role": m.role, "content": m.content} for m in messages]
    prompt = recipe.prompt.render(**about, turns=turns, replies=str(len(references)))
    return Request(prompt, schema=_replies_schema(references), draw=draw)


def _replies_schema(references: list[str]) -> str:
    """Return a JSON schema for as many replies as references, each at most about three times the longest reference.

    Bounds are powers of two, so that an engine compiles a few grammars and not one per row.
    """
    bound = MIN_REPLY_BOUND
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


def parse_dialogue(recipe: DialogueRecipe, assignment: Assignment, completion: Completion) -> Dialogue | Reject:
    """Return the user turns with the replies, or a reject."""
    users = [m.content for m in assignment.messages if m.role == "user"]
    replies = _replies(recipe, completion, len(users))
    if isinstance(replies, Reject):
        return replies
    texts = [reply.strip() for reply in replies]
    if not all(texts):
        return Reject("empty_reply", "\n\n".join(replies))
    if not all(map(is_text, texts)):
        return Reject("invalid_text", "\n\n".join(replies))
    (system,) = recipe.system.render(persona=assignment.persona, profile=assignment.profile)
    turns = (
        m
        for user, reply in zip(users, texts, strict=True)
        for m in (Message("user", user), Message("assistant", reply))
    )
    return Dialogue(**dialogue_ids(recipe, assignment), messages=(system, *turns))


def parse_candidate(
    recipe: DialogueRecipe, assignment: AssignmentDraw, completion: Completion
) -> CandidateDialogue | Reject:
    """Return one of several dialogues of an assignment, or a reject."""
    found = parse_dialogue(recipe, assignment, completion)
    if isinstance(found, Reject):
        return found
    return CandidateDialogue(**candidate_ids(recipe, assignment), messages=found.messages)


def _replies(recipe: DialogueRecipe, completion: Completion, turns: int) -> list[str] | Reject:
    if recipe.strategy == "generate":
        return list(completion.replies)
    (reply,) = completion.replies
    replies = (extract_json_object(reply) or {}).get("replies")
    if not isinstance(replies, list) or not all(isinstance(text, str) for text in replies):
        return Reject("invalid_reply", reply)
    if len(replies) != turns:
        return Reject("wrong_turns", f"{len(replies)} replies for {turns} turns: {reply}")
    return replies


def dialogue_ids(recipe: DialogueRecipe, assignment: Assignment) -> dict[str, str]:
    """Return the columns that a dialogue and its reject share."""
    recipe_id = (recipe.strategy, recipe.prompt.ref, recipe.system.ref, recipe.generated_by)
    candidate = getattr(assignment, "candidate", 0)
    number = (str(candidate),) if candidate else ()
    return {
        "dialogue_id": content_id(assignment.character_id, assignment.instruction_id, *recipe_id, *number),
        "strategy": recipe.strategy,
        "corpus": assignment.corpus,
        "instruction_id": assignment.instruction_id,
        "character_id": assignment.character_id,
    }


def candidate_ids(recipe: DialogueRecipe, assignment: AssignmentDraw) -> dict[str, Any]:
    """Return the columns that a candidate for a dialogue and its reject share."""
    return {**dialogue_ids(recipe, assignment), "candidate": assignment.candidate}

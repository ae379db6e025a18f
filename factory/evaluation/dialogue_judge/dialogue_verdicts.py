"""Dialogues to a judge's scores for voice, facts and answers: a request holds one dialogue, and gives one row."""

from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from factory.config import AXES
from factory.inference.json_reply import extract_json_object
from factory.inference.prompts import Prompt
from factory.records import (
    Completion,
    DialogueToJudge,
    DialogueVerdict,
    JudgedDialogue,
    Reject,
    Request,
    Score,
)


@dataclass(frozen=True)
class DialogueProtocol:
    """How one judge scores dialogues."""

    judge: str
    prompt: Prompt
    attempts: int


def render_dialogue_verdict(protocol: DialogueProtocol, dialogue: DialogueToJudge) -> Request:
    """Ask for the scores of a dialogue."""
    messages = protocol.prompt.render(
        persona=dialogue.persona,
        profile=dialogue.profile,
        turns=[{"role": message.role, "content": message.content} for message in dialogue.messages],
        references=list(dialogue.references),
    )
    return Request(messages, schema=protocol.prompt.schema, is_parsable=is_parsable_verdict, attempts=protocol.attempts)


def is_parsable_verdict(text: str) -> bool:
    """Return whether a reply has all scores."""
    return read_verdict(text) is not None


def read_verdict(text: str) -> DialogueVerdict | None:
    """Read the JSON object of a verdict, of which other keys are ignored; None where it lacks one or is none."""
    found = {name.casefold(): value for name, value in (extract_json_object(text) or {}).items()}
    scores = {axis: _score(found.get(axis)) for axis in AXES}
    try:
        return DialogueVerdict.model_validate(
            {"reasoning": found.get("reasoning"), "has_room": found.get("has_room"), **scores}
        )
    except ValidationError:
        return None


def _score(value: Any) -> Any:
    """Return the whole number of a score that was written as `4.0` or "4"; anything else as it is."""
    if isinstance(value, str):
        return int(value) if value in ("1", "2", "3", "4", "5") else None
    return int(value) if type(value) in (int, float) and value in range(1, 6) else None


def parse_dialogue_verdict(
    protocol: DialogueProtocol, dialogue: DialogueToJudge, completion: Completion
) -> JudgedDialogue | Reject:
    """Parse the scores, or reject the row: a failed judge gives no low score."""
    reply = completion.replies[-1]
    verdict = read_verdict(reply)
    if verdict is None:
        return Reject("judge_failed", reply)
    return JudgedDialogue(
        **judged_ids(protocol, dialogue),
        has_room=verdict.has_room,
        voice_score=Score(verdict.voice),
        facts_score=Score(verdict.facts),
        answers_score=Score(verdict.answers),
        reasoning=verdict.reasoning,
        attempts=completion.attempts,
    )


def judged_ids(protocol: DialogueProtocol, dialogue: DialogueToJudge) -> dict[str, Any]:
    """Return the columns that a judged dialogue and its reject share."""
    return {
        "dialogue_id": dialogue.dialogue_id,
        "character_id": dialogue.character_id,
        "strategy": dialogue.strategy,
        "corpus": dialogue.corpus,
        "judge": protocol.judge,
    }

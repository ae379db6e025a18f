"""Prompts for the questions of a new benchmark, and the parsing of the replies.

The model first chooses settings for a persona, and then writes questions set in them, task by task.
"""

import json
import unicodedata
from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError

from factory.inference.json_reply import extract_json_object
from factory.inference.prompts import Prompt
from factory.records import (
    ChosenSettings,
    Completion,
    Persona,
    PersonaQuestions,
    PersonaSettings,
    PersonaTask,
    Reject,
    Request,
    TaskQuestions,
)
from factory.text.language import detect, likelihood, with_similar
from factory.text.normalize import clean_line

MAX_CHARACTERS = 300
"""Length of a question, about 50 words: without a bound a small model never ends its first one."""
MIN_LETTERS, MIN_CONFIDENCE, MAX_PERSONA_LIKELIHOOD = 60, 0.9, 0.25
"""The language of a text with fewer letters is not checked. A text is in another language than the persona's where
the detector is certain of it, and the persona's sentence is unlikely to be in it."""


def render_settings(prompt: Prompt, available: Sequence[str], count: int, persona: Persona) -> Request:
    """Ask for `count` of the available settings for a persona."""
    schema = _list_schema("settings", {"enum": list(available)}, count)
    return Request(prompt.render(persona=persona.persona, settings=list(available), count=str(count)), schema=schema)


def parse_settings(
    available: Sequence[str], count: int, persona: Persona, completion: Completion
) -> PersonaSettings | Reject:
    """Parse the chosen settings; a repeated one counts once."""
    (reply,) = completion.replies
    try:
        chosen = ChosenSettings.model_validate(extract_json_object(reply)).settings
    except ValidationError:
        return Reject("invalid_reply", reply)
    if len(chosen) != count:
        return Reject("wrong_count", f"{len(chosen)} settings, not {count}: {reply}")
    by_normal_form = {_normal_form(setting): setting for setting in available}
    for setting in chosen:
        if _normal_form(setting) not in by_normal_form:
            return Reject("unknown_setting", f"{setting!r} is not available: {reply}")
    distinct = tuple({by_normal_form[_normal_form(setting)]: None for setting in chosen})
    return PersonaSettings(**settings_ids(persona), settings=distinct)


def settings_ids(persona: Persona) -> dict[str, str]:
    """Return the columns that a persona's settings and their reject share."""
    return {"persona_id": persona.character_id, "persona": persona.persona}


def render_questions(prompt: Prompt, count: int, task: PersonaTask) -> Request:
    """Ask for `count` questions for a persona's task."""
    about = {"persona": task.persona, "settings": list(task.settings), "task": task.task}
    item = {"type": "string", "minLength": 1, "maxLength": MAX_CHARACTERS}
    return Request(prompt.render(**about, count=str(count)), schema=_list_schema("questions", item, count))


def parse_questions(count: int, task: PersonaTask, completion: Completion) -> PersonaQuestions | Reject:
    """Parse the questions of a task, or return the reason why they cannot be used."""
    (reply,) = completion.replies
    try:
        written = TaskQuestions.model_validate(extract_json_object(reply)).questions
    except ValidationError:
        return Reject("invalid_reply", reply)
    if len(written) != count:
        return Reject("wrong_count", f"{len(written)} questions, not {count}: {reply}")
    questions = []
    for text in map(clean_line, written):
        if isinstance(text, Reject):
            return Reject("empty_field" if text.reason == "empty" else text.reason, reply)
        questions.append(text)
    forms = [_normal_form(question) for question in questions]
    if not all(forms):
        return Reject("empty_field", reply)
    for number, form in enumerate(forms):
        if form in forms[:number]:
            return Reject("duplicate_question", f"{questions[number]!r} occurs twice: {reply}")
    if any(_is_foreign(text, task.persona) for text in [*questions, " ".join(questions)]):
        return Reject("wrong_language", reply)
    return PersonaQuestions(**questions_ids(task), questions=tuple(questions))


def questions_ids(task: PersonaTask) -> dict[str, str]:
    """Return the columns that the questions of a task and their reject share."""
    return {"persona_id": task.persona_id, "persona": task.persona, "task": task.task}


def _list_schema(name: str, item: dict[str, Any], count: int) -> str:
    array = {"type": "array", "items": item, "minItems": count, "maxItems": count}
    schema = {"type": "object", "properties": {name: array}, "required": [name], "additionalProperties": False}
    return json.dumps(schema)


def _normal_form(text: str) -> str:
    """Return a text without its case, punctuation and spacing."""
    spaced = ("" if unicodedata.category(c)[0] == "P" else c for c in text.casefold())
    return " ".join("".join(spaced).split())


def _is_foreign(text: str, persona: str) -> bool:
    """Return whether a text is in another language than a persona's sentence, which alone is too short to be sure."""
    if sum(map(str.isalpha, text)) < MIN_LETTERS:
        return False
    found, own = detect(text), detect(persona)
    if found is None or own is None or found[1] < MIN_CONFIDENCE or found[0] in with_similar(frozenset({own[0]})):
        return False
    return likelihood(persona, found[0], frozenset({own[0]})) < MAX_PERSONA_LIKELIHOOD

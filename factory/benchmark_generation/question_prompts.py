"""A persona to questions of a new benchmark: what the model is asked, and how its replies are read.

It picks settings for the persona first, and then writes questions that play there, task by task.
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

LONGEST = 300
"""Characters of a question, about 50 words: without a bound a small model never ends its first one."""
TELLING_LETTERS, CERTAIN, CAUSE = 60, 0.9, 0.25
"""A text with fewer letters is not told by its language; one is in another language than the persona's
where the detector is certain of that, and the persona is hardly in it."""


def render_settings(prompt: Prompt, offered: Sequence[str], count: int, persona: Persona) -> Request:
    """Ask for `count` of the settings on offer for a persona."""
    schema = _list_schema("settings", {"enum": list(offered)}, count)
    return Request(prompt.render(persona=persona.persona, settings=list(offered), count=str(count)), schema=schema)


def parse_settings(
    offered: Sequence[str], count: int, persona: Persona, completion: Completion
) -> PersonaSettings | Reject:
    """Read the settings that were picked; one that was picked twice counts once."""
    (reply,) = completion.replies
    try:
        chosen = ChosenSettings.model_validate(extract_json_object(reply)).settings
    except ValidationError:
        return Reject("invalid_reply", reply)
    if len(chosen) != count:
        return Reject("wrong_count", f"{len(chosen)} settings, not {count}: {reply}")
    by_form = {_form(setting): setting for setting in offered}
    for setting in chosen:
        if _form(setting) not in by_form:
            return Reject("unknown_setting", f"{setting!r} is not on offer: {reply}")
    distinct = tuple({by_form[_form(setting)]: None for setting in chosen})
    return PersonaSettings(**settings_ids(persona), settings=distinct)


def settings_ids(persona: Persona) -> dict[str, str]:
    """Return the columns that a persona's settings and their reject share."""
    return {"persona_id": persona.character_id, "persona": persona.persona}


def render_questions(prompt: Prompt, count: int, task: PersonaTask) -> Request:
    """Ask for `count` questions for a persona's task."""
    about = {"persona": task.persona, "settings": list(task.settings), "task": task.task}
    item = {"type": "string", "minLength": 1, "maxLength": LONGEST}
    return Request(prompt.render(**about, count=str(count)), schema=_list_schema("questions", item, count))


def parse_questions(count: int, task: PersonaTask, completion: Completion) -> PersonaQuestions | Reject:
    """Read the questions of a task, or say why they cannot be asked."""
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
    forms = [_form(question) for question in questions]
    if not all(forms):
        return Reject("empty_field", reply)
    for number, form in enumerate(forms):
        if form in forms[:number]:
            return Reject("duplicate_question", f"{questions[number]!r} stands twice: {reply}")
    if any(_is_foreign(text, task.persona) for text in [*questions, " ".join(questions)]):
        return Reject("wrong_language", reply)
    return PersonaQuestions(**questions_ids(task), questions=tuple(questions))


def questions_ids(task: PersonaTask) -> dict[str, str]:
    """Return the columns that the questions of a task and their reject share."""
    return {"persona_id": task.persona_id, "persona": task.persona, "task": task.task}


def _list_schema(name: str, item: dict[str, Any], count: int) -> str:
    many = {"type": "array", "items": item, "minItems": count, "maxItems": count}
    schema = {"type": "object", "properties": {name: many}, "required": [name], "additionalProperties": False}
    return json.dumps(schema)


def _form(text: str) -> str:
    """A text without its case, punctuation and spacing."""
    spaced = ("" if unicodedata.category(c)[0] == "P" else c for c in text.casefold())
    return " ".join("".join(spaced).split())


def _is_foreign(text: str, persona: str) -> bool:
    """Whether a text is in another language than a persona's sentence, which is too short to be sure of its own."""
    if sum(map(str.isalpha, text)) < TELLING_LETTERS:
        return False
    told, own = detect(text), detect(persona)
    if told is None or own is None or told[1] < CERTAIN or told[0] in with_similar(frozenset({own[0]})):
        return False
    return likelihood(persona, told[0], frozenset({own[0]})) < CAUSE

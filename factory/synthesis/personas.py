"""Personas: a raw row to a Persona."""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from factory.config.cast import LanguageChoice
from factory.config.synthesis import Personas
from factory.records import Persona, Reject, content_id
from factory.synthesis.facts import draw, fact_text, stratum_of
from factory.text.normalize import clean_line, remove_invisible


def read_persona(value: Any, column: str) -> Persona | Reject:
    """Read a persona from a row's value: a text, or an object's column."""
    if isinstance(value, dict):
        if column not in value:
            return Reject("missing_column", f"no {column!r} in {sorted(map(str, value))}"[:2000])
        value = value[column]
    text = clean_line(value)
    if isinstance(text, Reject):
        return text
    return Persona(character_id=content_id(remove_invisible(text)), persona=text)


def cast_columns(settings: Personas) -> tuple[str, ...]:
    """Return the columns that are read of a row."""
    choice = settings.language
    named = [choice.column] if isinstance(choice, LanguageChoice) and choice.column else []
    named += [settings.unique] if settings.unique else []
    columns = (settings.column, *settings.facts.values(), *(quota.by for quota in settings.quotas), *named)
    return tuple(dict.fromkeys(columns))


def read_cast_member(value: Any, settings: Personas) -> Persona | Reject:
    """Read a persona with its facts, drawn traits, language and strata.

    The id is that of the persona, its facts and a language of the row, or of the column `unique`.
    """
    persona = read_persona(value, settings.column)
    if isinstance(persona, Reject) or not settings.cast:
        return persona
    row: Mapping[str, Any] = value if isinstance(value, dict) else {}
    columns = cast_columns(settings)[1:]
    if missing := [name for name in columns if name not in row]:
        return Reject("missing_column", f"no {missing[0]!r} in {sorted(map(str, row))}"[:2000])
    read = {name: fact_text(row[name]) for name in columns}
    for name, text in read.items():
        if isinstance(text, Reject):
            reason = text.reason if text.reason in ("too_long", "invalid_text") else "empty_field"
            return Reject(reason, f"{name}: {row[name]!r}"[:2000])
    texts = {name: str(text) for name, text in read.items()}
    facts = {name: texts[column] for name, column in settings.facts.items()}
    language = _language_of_row(persona, texts, settings)
    if settings.unique:
        id_ = content_id("unique", texts[settings.unique])
    elif facts or language:
        id_ = content_id(persona.character_id, json.dumps(facts), language or "")
    else:
        id_ = persona.character_id
    if isinstance(settings.language, LanguageChoice) and settings.language.weights:
        language = draw(id_, "language", settings.language.weights)
    drawn = {name: draw(id_, name, shares) for name, shares in settings.draw.items()}
    strata = drawn | ({"language": language} if language else {})
    for quota in settings.quotas:
        stratum = stratum_of(texts[quota.by], quota)
        if stratum is None:
            return Reject("over_quota", f"{quota.by} is {texts[quota.by]!r}, which has no share")
        strata[quota.by] = stratum
    return replace(persona, character_id=id_, facts=_object(facts | drawn), language=language, strata=_object(strata))


def _language_of_row(persona: Persona, texts: Mapping[str, str], settings: Personas) -> str | None:
    if isinstance(settings.language, LanguageChoice):
        return texts[settings.language.column] if settings.language.column else None
    if settings.language is None:
        return None
    from factory.text.language import detect  # lingua takes a second to import

    found = detect(persona.persona)
    return found[0].capitalize() if found else None


def _object(texts: Mapping[str, str]) -> str | None:
    return json.dumps(texts, ensure_ascii=False) if texts else None

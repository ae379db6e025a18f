"""Personas: a raw row to a Persona."""

from typing import Any

from factory.records import Persona, Reject, content_id
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

"""Validation of the page's inputs: a persona, the eight fields of a profile, a message."""

from collections.abc import Mapping, Sequence
from functools import cache

from factory.records import Persona, ProfileFields, Reject, content_id
from factory.synthesis.profiles import LABELS, profile_text
from factory.text.normalize import clean_line, clean_paragraphs, is_text, remove_invisible

LONG_FIELDS = ("appearance", "experience", "personality")
"""The fields of one or more sentences; the others have a few words."""


class FormError(Exception):
    """An invalid input; the message explains it to its author, and does not quote it."""


@cache
def max_length(field: str) -> int:
    """Return the maximum number of characters of a profile's field: twice that of guided generation."""
    return 2 * int(ProfileFields.model_json_schema()["properties"][field]["maxLength"])


def read_persona(text: str, limit: int) -> Persona:
    """Parse a description into a persona of one line, as synthesis does.

    Raises:
        FormError: the description is empty, too long or not valid text.
    """
    written = clean_line(text)
    if isinstance(written, Reject):
        raise FormError("Describe the character in a sentence.")
    if len(written) > limit:
        raise FormError(f"The description has {len(written):,} characters; the maximum is {limit:,}.")
    return Persona(content_id(remove_invisible(written)), written)


def read_profile(values: Sequence[str]) -> str:
    """Return the text of a profile.

    Args:
        values: the eight fields, in the order of `LABELS`.

    Raises:
        FormError: a field is empty or too long.
    """
    fields = {name: " ".join(value.split()) for name, value in zip(LABELS, values, strict=True)}
    for name, value in fields.items():
        if not value or not is_text(value):
            raise FormError(f"{LABELS[name]}: please fill in this field.")
        if len(value) > max_length(name):
            raise FormError(f"{LABELS[name]} has {len(value):,} characters; the maximum is {max_length(name):,}.")
    return profile_text(fields)


def read_message(text: str, limit: int) -> str:
    """Return a normalized message, with its line breaks.

    Raises:
        FormError: the message is empty, too long or not valid text.
    """
    written = clean_paragraphs(text)
    if isinstance(written, Reject):
        raise FormError("Write a message first.")
    if len(written) > limit:
        raise FormError(f"The message has {len(written):,} characters; the maximum is {limit:,}.")
    return written


def form_values(record: object | None) -> list[str]:
    """Return the eight fields of a profile for the form, in the order of `LABELS`; empty without a profile."""
    values: Mapping[str, str] = {name: getattr(record, name, "") for name in LABELS}
    return list(values.values())

"""What a person writes into the page, checked: a persona, the eight items of a profile, a message."""

from collections.abc import Mapping, Sequence
from functools import cache

from factory.records import Persona, ProfileFields, Reject, content_id
from factory.synthesis.profiles import LABELS, profile_text
from factory.text.normalize import clean_line, clean_paragraphs, is_text, remove_invisible

LONG = ("appearance", "experience", "personality")
"""The items that are sentences; the others are a few words."""


class Refused(Exception):  # noqa: N818
    """What was written cannot be taken; the message says why, to the person who wrote it, and quotes nothing."""


@cache
def longest(item: str) -> int:
    """How many characters an item of a profile may have: twice what a guided model may write."""
    return 2 * int(ProfileFields.model_json_schema()["properties"][item]["maxLength"])


def read_persona(text: str, limit: int) -> Persona:
    """A description as the factory holds personas: one line.

    Raises:
        Refused: it is empty, too long or no text.
    """
    written = clean_line(text)
    if isinstance(written, Reject):
        raise Refused("Describe the character in a sentence.")
    if len(written) > limit:
        raise Refused(f"The description has {len(written):,} characters; {limit:,} is the most.")
    return Persona(content_id(remove_invisible(written)), written)


def read_profile(items: Sequence[str]) -> str:
    """The profile's text of eight items, in the order of `LABELS`.

    Raises:
        Refused: one is empty or too long.
    """
    written = {name: " ".join(value.split()) for name, value in zip(LABELS, items, strict=True)}
    for name, value in written.items():
        if not value or not is_text(value):
            raise Refused(f"{LABELS[name]}: write something.")
        if len(value) > longest(name):
            raise Refused(f"{LABELS[name]} has {len(value):,} characters; {longest(name):,} is the most.")
    return profile_text(written)


def read_message(text: str, limit: int) -> str:
    """A message, whose lines stay.

    Raises:
        Refused: it is empty, too long or no text.
    """
    written = clean_paragraphs(text)
    if isinstance(written, Reject):
        raise Refused("Write a message first.")
    if len(written) > limit:
        raise Refused(f"The message has {len(written):,} characters; {limit:,} is the most.")
    return written


def items_of(record: object | None) -> list[str]:
    """The eight items of a profile as the form shows them; empty where there is none."""
    values: Mapping[str, str] = {name: getattr(record, name, "") for name in LABELS}
    return list(values.values())

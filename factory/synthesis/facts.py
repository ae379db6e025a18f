"""Facts of a persona: read from a row, drawn, counted by quotas, and looked for in a profile."""

import json
import re
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from factory.config.cast import Quota
from factory.records import Persona, Reject, content_id
from factory.text.normalize import clean_line

_WORD = re.compile(r"\w++")
MAX_CHARACTERS = 2000
"""Of a fact; longer texts are no facts that could be looked for."""
STEM = 5
"""A word of a fact that is no item of the profile may occur in another form: so many first letters must be the same."""
ITEMS = frozenset({"name", "age", "gender", "race", "birth_place", "appearance", "experience", "personality"})


def fact_text(value: Any) -> str | Reject:
    """Return a cell as text for a prompt: numbers without `.0`, codes such as `software_developer` with spaces.

    A cell that is empty, no text, or longer than `MAX_CHARACTERS` is a reject.
    """
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        value = str(value)
    text = clean_line(value)
    if isinstance(text, Reject):
        return text
    if len(text) > MAX_CHARACTERS:
        return Reject("too_long", f"{len(text):,} characters")
    return text.replace("_", " ").strip() or Reject("empty", repr(value))


def facts_of(persona: Persona) -> dict[str, str]:
    """Return the facts and drawn traits of a persona."""
    return json.loads(persona.facts) if persona.facts else {}


def draw(character_id: str, trait: str, shares: Mapping[str, float]) -> str:
    """Return the value that a hash of the id draws, with these weights."""
    point = int(content_id(character_id, trait), 16) / 2**64 * sum(shares.values())
    for value, share in shares.items():
        point -= share
        if point < 0:
            return value
    return list(shares)[-1]


def stratum_of(text: str, quota: Quota) -> str | None:
    """Return the value or band of a quota that a row belongs to, or None."""
    if quota.shares:
        return next((value for value in quota.shares if value.casefold() == text.casefold()), None)
    try:
        number = float(text)
    except ValueError:
        return None
    return next((label for label, (low, high) in bands(quota).items() if low <= number < high), None)


def bands(quota: Quota) -> dict[str, tuple[float, float]]:
    """Return the bands of a quota by their names, such as `18-30`, without the upper border."""
    return {f"{low:g}-{high:g}": (low, high) for low, high in pairwise(quota.bands)}


def shares_of(quota: Quota) -> dict[str, float]:
    """Return the share of each value or band of a quota; they sum to 1."""
    shares = dict(quota.shares) or dict.fromkeys(bands(quota), 1.0)
    total = sum(shares.values())
    return {value: share / total for value, share in shares.items()}


def find_lost_fact(facts: Mapping[str, str], items: Mapping[str, str]) -> str | None:
    """Return which fact a profile does not keep, or None.

    An item that is a fact must have all its words; another fact must occur in the items, its words in any form.
    """
    everything = " ".join(items.values())
    for name, fact in facts.items():
        is_item = name in ITEMS
        if not _has_words(fact, items[name] if is_item else everything, None if is_item else STEM):
            return f"{name} is {fact!r}" + (f", not {items[name]!r}" if is_item else " and is not in the profile")
    return None


def _has_words(fact: str, text: str, stem: int | None) -> bool:
    text = text.casefold()
    words = set(_WORD.findall(text))
    begins = {word[:length] for word in words for length in range(1, (stem or 0) + 1)}
    for word in _WORD.findall(fact.casefold()):
        if word.isnumeric() or (stem is None and word.isascii()):
            found = word in words
        elif word.isascii():
            found = word[:stem] in begins
        else:
            found = word in text  # in many scripts no space parts words
        if not found:
            return False
    return True

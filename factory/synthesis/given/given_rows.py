"""Given profiles: a raw row of a table, or a character card, to a Profile."""

import json
from collections.abc import Mapping
from typing import Any

from factory.records import Profile, Reject, content_id
from factory.synthesis.given.card_profile import is_card, read_card
from factory.synthesis.profiles import LABELS, find_fault, profile_text
from factory.text.normalize import clean_line, is_text, remove_invisible

GIVEN = "given"
"""The `origin` of a profile that was not generated."""
COLUMNS = ("persona", *LABELS, "language", "spec", "spec_version", "data")
"""The columns of a row, and the keys of a card."""
MAX_CHARACTERS = 20_000
"""Of a profile's text: a dialogue's prompt holds it whole."""
_CARD_LINES = {"scenario": "Scenario", "first_mes": "First Message"}


def read_given(value: Any, language: str) -> Profile | Reject:
    """Read a profile from a row's value.

    Args:
        value: an object with `persona`, the eight items and perhaps `language`, or a character card.
        language: the language of rows that name none.
    """
    if not isinstance(value, dict):
        return Reject("not_an_object", repr(value)[:2000])
    if not is_card(value):
        return _profile(_read_items(value), value.get("language") or language, None)
    card = json.dumps(value, ensure_ascii=False)
    if not is_text(card):
        return Reject("invalid_text", "the card has half a character")
    found = read_card(value)
    return _profile(found, language if isinstance(found, Reject) else found.get("language", language), card)


def _read_items(row: Mapping[str, Any]) -> dict[str, str] | Reject:
    if missing := [name for name in ("persona", *LABELS) if name not in row]:
        return Reject("missing_column", f"no {', '.join(map(repr, missing))} in {sorted(map(str, row))}"[:2000])
    items = {}
    for name in ("persona", *LABELS):
        value = row[name]
        if isinstance(value, int) and not isinstance(value, bool):
            value = str(value)  # an age
        text = clean_line(value) if name == "persona" else value
        if isinstance(text, Reject) or not isinstance(text, str) or not text.strip():
            reason = "empty_field" if value is None or value == "" or isinstance(value, str) else "not_text"
            if isinstance(text, Reject) and text.reason not in ("empty", "not_text"):
                reason = text.reason
            return Reject(reason, f"{name}: {'is empty' if reason == 'empty_field' else repr(value)[:2000]}")
        items[name] = text
    return items


def _profile(found: dict[str, str] | Reject, language: Any, card: str | None) -> Profile | Reject:
    """Return the profile of what a row says; the rules for generated profiles are not applied to it."""
    if isinstance(found, Reject):
        return found
    if not isinstance(language, str) or not language.strip() or not is_text(language):
        return Reject("not_text", f"language: {language!r}"[:2000])
    persona = clean_line(found["persona"])
    if isinstance(persona, Reject):
        return persona
    items = {name: " ".join(found.get(name, "").split()) for name in LABELS}
    more = {label: found[name] for name, label in _CARD_LINES.items() if found.get(name)}
    text = "\n".join([profile_text(items), *(f"{label}: {value}" for label, value in more.items())])
    if len(text) > MAX_CHARACTERS:
        return Reject("too_long", f"{len(text):,} characters; the maximum of a given profile is {MAX_CHARACTERS:,}")
    # A card of another origin has no age, gender, race, birth place or appearance of its own.
    stated = items if card is None else {name: value for name, value in items.items() if value}
    if fault := find_fault(stated, text):
        return fault
    return Profile(
        character_id=content_id(remove_invisible(persona), remove_invisible(text), language.strip()),
        persona=persona,
        **items,
        profile=text,
        language=language.strip(),
        origin=GIVEN,
        card=card,
    )

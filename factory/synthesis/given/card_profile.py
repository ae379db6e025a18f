"""Character cards to profiles and back: which fields go where.

Name, description, personality, scenario and first message of a card make the profile. `creator`, `creator_notes` and
`tags` are for people and never reach a prompt. `system_prompt` and `post_history_instructions` are orders of a stranger
to a model, so a card with one is rejected.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

from factory.records import Reject
from factory.synthesis.profiles import LABELS
from factory.text.normalize import clean_line

EXTENSION = "character_factory"
"""The key of `extensions` with a profile's persona, its eight items and its language."""
SPECS = {"chara_card_v2": "V2", "chara_card_v3": "V3"}
PERSONA_CHARACTERS = 300
_INSTRUCTIONS = ("system_prompt", "post_history_instructions")
_ORIGINAL = "{{original}}"
"""A prompt that stands for the reader's own one: no instruction."""
_DESCRIBED = tuple(name for name in LABELS if name not in ("name", "personality"))
"""The items that an exported card has in its description."""
_CHARACTER = re.compile(r"\{\{char\}\}|<bot>", re.IGNORECASE)
_USER = re.compile(r"\{\{user\}\}|<user>", re.IGNORECASE)
_SENTENCE_END = re.compile(r"[.!?\u3002\uff01\uff1f\u061f\u0964](?=\s|$)|[\u3002\uff01\uff1f]")


def is_card(value: Mapping[str, Any]) -> bool:
    """Return whether an object is a character card, whatever is in it."""
    return value.get("spec") is not None or (isinstance(value.get("data"), dict) and "name" not in value)


def read_card(card: Mapping[str, Any]) -> dict[str, str] | Reject:
    """Return what a card says of a character: `persona`, some of the eight items, and texts that only cards have.

    An exported profile whose visible fields are unchanged gives exactly its own values back.
    """
    data = card.get("data")
    if card.get("spec") not in SPECS or not isinstance(data, dict):
        return Reject("invalid_card", f"spec {str(card.get('spec'))[:100]!r}: give a card of {' or '.join(SPECS)}")
    for name in _INSTRUCTIONS:
        text = data.get(name)
        if text and not (isinstance(text, str) and text.strip() in ("", _ORIGINAL)):
            return Reject(
                "card_instructions", f"has a {name}, an instruction that is not ours; empty it to use the card"
            )
    if (own := _own_values(data)) is not None:
        return own
    texts: dict[str, str] = {}
    for name in ("name", "description", "personality", "scenario", "first_mes"):
        text = clean_line(data.get(name) or " ")
        if isinstance(text, Reject) and text.reason != "empty":
            return Reject(text.reason, f"{name}: {text.detail}"[:2000])
        texts[name] = "" if isinstance(text, Reject) else text
    name = texts["name"]
    for field in ("name", *(("description",) if not texts["personality"] else ())):
        if not texts[field]:
            return Reject("empty_field", f"{field} is empty")
    filled = {field: _USER.sub("the user", _CHARACTER.sub(lambda _: name, text)) for field, text in texts.items()}
    return {
        "persona": _first_sentence(filled["description"] or filled["personality"]),
        "name": name,
        "experience": filled["description"],
        "personality": filled["personality"],
        "scenario": filled["scenario"],
        "first_mes": filled["first_mes"],
    }


def _own_values(data: Mapping[str, Any]) -> dict[str, str] | None:
    """Return the values of an exported profile, or None where the card is another's or was edited since."""
    extensions = data.get("extensions")
    own = extensions.get(EXTENSION) if isinstance(extensions, dict) else None
    values = own.get("profile") if isinstance(own, dict) else None
    names = ("persona", *LABELS, "language")
    if not isinstance(values, dict) or not all(isinstance(values.get(name), str) for name in names):
        return None
    shown = _visible_fields(values)
    return {name: values[name] for name in names} if all(data.get(name) == shown[name] for name in shown) else None


def _first_sentence(text: str) -> str:
    end = _SENTENCE_END.search(text, 0, PERSONA_CHARACTERS)
    if end:
        return text[: end.end()]
    cut = text[:PERSONA_CHARACTERS]
    return text if text == cut else cut.rpartition(" ")[0] or cut


def _visible_fields(items: Mapping[str, str]) -> dict[str, str]:
    return {
        "name": items["name"],
        "description": "\n".join(f"{LABELS[name]}: {items[name]}" for name in _DESCRIBED if items[name]),
        "personality": items["personality"],
    }


def to_card(profile: Mapping[str, Any]) -> dict[str, Any]:
    """Return a profile as a V3 card.

    A profile that came as a card is that card, with all its fields and extensions. Others get one of their own with
    the eight items under `EXTENSION`.

    Args:
        profile: a row of profiles: the fields of `Profile`.
    """
    if profile["card"]:
        card = json.loads(profile["card"])
        missing = {name: value for name, value in _EMPTY.items() if name not in card["data"]}
        return {**card, "spec": "chara_card_v3", "spec_version": "3.0", "data": card["data"] | missing}
    values = {name: profile[name] for name in ("persona", *LABELS, "language")}
    extension = {"character_id": profile["character_id"], "profile": values}
    data = {**_EMPTY, **_visible_fields(values), "extensions": {EXTENSION: extension}}
    return {"spec": "chara_card_v3", "spec_version": "3.0", "data": data}


def to_v2(card: Mapping[str, Any]) -> dict[str, Any]:
    """Return a V3 card for programs that read V2 only."""
    return {**card, "spec": "chara_card_v2", "spec_version": "2.0"}


_EMPTY: dict[str, Any] = {
    "name": "", "description": "", "personality": "", "scenario": "", "first_mes": "", "mes_example": "",
    "creator_notes": "", "system_prompt": "", "post_history_instructions": "", "alternate_greetings": [],
    "group_only_greetings": [], "tags": [], "creator": "", "character_version": "", "extensions": {},
}  # fmt: skip
"""The fields that a V3 card must have."""

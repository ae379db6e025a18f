"""A persona to a profile: what the model is asked, and how its reply is read."""

from pydantic import ValidationError

from factory.inference.json_reply import extract_json_object
from factory.inference.prompts import Prompt
from factory.records import Completion, Profile, ProfileFields, Reject, Request
from factory.storage.rows import Row
from factory.text.normalize import is_text

LABELS = {
    "name": "Name",
    "age": "Age",
    "gender": "Gender",
    "race": "Race",
    "birth_place": "Birth Place",
    "appearance": "Appearance",
    "experience": "General Experience",
    "personality": "Personality",
}
"""The eight items of the paper, as the profile's text names them."""


def render_profile(prompt: Prompt, language: str, row: Row) -> Request:
    """Ask for the eight items of a persona (a row of the table `personas`)."""
    return Request(prompt.render(persona=row["persona"], language=language), schema=prompt.schema)


def parse_profile(language: str, row: Row, completion: Completion) -> Profile | Reject:
    """Turn one reply into a profile, or say why it cannot be one."""
    (reply,) = completion.replies
    try:
        fields = ProfileFields.model_validate(extract_json_object(reply))
    except ValidationError:
        return Reject("invalid_reply", reply)
    items = {name: " ".join(value.split()) for name, value in fields.model_dump().items()}
    if not all(items.values()):
        return Reject("empty_field", reply)
    if not all(map(is_text, items.values())):
        return Reject("invalid_text", reply)
    return Profile(
        character_id=row["character_id"],
        persona=row["persona"],
        **items,
        profile=profile_text(items),
        language=language,
    )


def profile_text(items: dict[str, str]) -> str:
    """The eight items as plain text, a line each; starts with `Name:`."""
    return "\n".join(f"{label}: {items[name]}" for name, label in LABELS.items())

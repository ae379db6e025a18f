"""Profiles: the request for a persona's profile, and the parsing of its reply."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, Literal

import numpy as np
from pydantic import ValidationError

from factory.inference.json_reply import extract_json_object
from factory.inference.prompts import Prompt
from factory.records import Completion, Persona, Profile, ProfileFields, Reject, Request, reply_model
from factory.synthesis.facts import facts_of, find_lost_fact
from factory.synthesis.profile_rules.long_items import prompt_ngrams
from factory.synthesis.profile_rules.profile_check import broken_rules
from factory.synthesis.profile_rules.sentence_endings import end_with_sentences
from factory.text.normalize import is_text
from factory.text.thoughts import find_thought_mark

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
"""Labels of the paper's eight items in a profile's text."""
ParseProfile = Callable[[Persona, Completion], Profile | Reject]


@dataclass(frozen=True)
class ProfileCheck:
    """What becomes of profiles that break a rule of `profile_rules`."""

    mode: Literal["reject", "flag", "off"]
    prompt: str = ""
    """Without a persona; a profile must not repeat it."""

    @cached_property
    def ngrams(self) -> np.ndarray:
        """The n-grams of the prompt."""
        return prompt_ngrams(self.prompt)


def prompt_text(prompt: Prompt) -> str:
    """Return a prompt's own text."""
    messages = prompt.render(**dict.fromkeys(prompt.inputs, ""))
    return "\n".join(message.content for message in messages)


def render_profile(
    prompt: Prompt,
    language: str,
    persona: Persona,
    ends_sentences: bool = False,
    attempts: int = 1,
    parse: ParseProfile | None = None,
) -> Request:
    """Return the request for the eight items of a persona, in its language or else the given one.

    Args:
        prompt: that of profiles.
        language: of personas without one.
        persona: the persona.
        ends_sentences: whether guided decoding ends the long items with a full stop.
        attempts: how often a profile is asked for until `parse` accepts it.
        parse: the function of a persona and its completion that returns a profile or a reject.
    """
    facts = "\n".join(f"- {name.replace('_', ' ')}: {value}" for name, value in facts_of(persona).items())
    messages = prompt.render(persona=persona.persona, language=persona.language or language, facts=facts)
    schema = prompt.schema
    if schema and ends_sentences:
        schema = end_with_sentences(schema, persona.language or language)
    is_accepted = partial(_is_accepted, parse, persona) if parse and attempts > 1 else None
    return Request(messages, schema=schema, is_parsable=is_accepted, attempts=attempts)


def _is_accepted(parse: ParseProfile, persona: Persona, reply: str) -> bool:
    return isinstance(parse(persona, Completion((reply,))), Profile)


def parse_profile(
    language: str,
    persona: Persona,
    completion: Completion,
    fixed: Collection[str] = (),
    check: ProfileCheck = ProfileCheck("off"),
    own: tuple[tuple[str, int], ...] = (),
) -> Profile | Reject:
    """Return the profile of a reply, or a reject.

    Args:
        language: of personas without one.
        persona: the persona.
        completion: the reply.
        fixed: the names of the facts that the profile must keep.
        check: the rules for profiles.
        own: the prompt's own items and their bounds.
    """
    (reply,) = completion.replies
    try:
        fields = reply_model(ProfileFields.__name__, own).model_validate(extract_json_object(reply))
    except ValidationError:
        return Reject("invalid_reply", reply)
    items = {name: " ".join(value.split()) for name, value in fields.model_dump().items()}
    if fault := find_fault(items, reply):
        return fault
    kept = {name: value for name, value in facts_of(persona).items() if name in fixed}
    if lost := find_lost_fact(kept, items):
        return Reject("fact_lost", f"{lost}\n\n{reply}")
    written_in = persona.language or language
    broken = (
        iter(()) if check.mode == "off" else broken_rules(items, persona.persona, written_in, check.ngrams, dict(own))
    )
    if check.mode == "reject" and (first := next(broken, None)):
        reason, detail = first
        return Reject(reason, f"{detail}\n\n{reply}")
    return Profile(
        **profile_ids(persona),
        persona=persona.persona,
        **{name: items[name] for name in LABELS},
        profile=profile_text(items, [name for name, _ in own]),
        language=written_in,
        flags=", ".join(name for name, _ in broken) or None,
    )


def find_fault(items: Mapping[str, str], raw: str) -> Reject | None:
    """Return why some items are no profile, or None; `raw` is the text that they were read from."""
    if not all(items.values()):
        return Reject("empty_field", raw)
    if not all(map(is_text, items.values())):
        return Reject("invalid_text", raw)
    if any(map(find_thought_mark, items.values())):
        return Reject("leaked_thoughts", raw)
    return None


def profile_ids(persona: Persona) -> dict[str, Any]:
    """Return the columns that a profile and its reject share."""
    return {"character_id": persona.character_id, "strata": persona.strata}


def profile_text(items: Mapping[str, str], own: Sequence[str] = ()) -> str:
    """Return the items as plain text with one line per item, without empty ones; it starts with `Name:`.

    Args:
        items: by name.
        own: the names of a prompt's own items, which come last.
    """
    labels = LABELS | {name: name.replace("_", " ").title() for name in own}
    return "\n".join(f"{label}: {items[name]}" for name, label in labels.items() if items[name])

"""Which rule a generated profile breaks."""

from collections.abc import Iterator, Mapping

import numpy as np

from factory.synthesis.profile_rules import long_items, short_items
from factory.synthesis.profile_rules.sheet import Sheet

RULES = {
    "placeholder": short_items.placeholder,
    "name_is_persona": short_items.name_is_persona,
    "not_a_name": short_items.not_a_name,
    "no_age": short_items.no_age,
    "thin": long_items.thin,
    "cut_off": long_items.cut_off,
    "said_twice": long_items.said_twice,
    "loop": long_items.loop,
    "foreign_letters": long_items.foreign_letters,
    "age_clash": short_items.age_clash,
    "gender_clash": short_items.gender_clash,
    "about_nobody": short_items.about_nobody,
    "wrong_language": long_items.wrong_language,  # last, because it takes most of the time
}
"""Rules by the reason that a profile is rejected for, in the order in which they are applied."""
PROMPT_ECHO = "prompt_echo"
EIGHT: Mapping[str, int] = {}
"""No items beside the paper's."""


def broken_rules(
    items: Mapping[str, str], persona: str, language: str, prompt: np.ndarray, own: Mapping[str, int] = EIGHT
) -> Iterator[tuple[str, str]]:
    """Yield each broken rule and what it found, in the order of the rules; a rule is applied when it is asked for.

    Args:
        items: the eight items, and those of the prompt's own.
        persona: from which the profile was written.
        language: in which it was asked for, in English.
        prompt: `prompt_ngrams` of the prompt without a persona.
        own: the most characters of each of the prompt's own items.
    """
    sheet = Sheet(persona, items, language, own)
    checks = {PROMPT_ECHO: lambda each: long_items.prompt_echo(each, prompt), **RULES}
    for name, check in checks.items():
        detail = check(sheet)
        if detail is not None:
            yield name, detail

"""Whether a reply has a first person, by the pronouns of languages whose verbs do not replace them."""

import re

_WORDS = {
    "english": "i|me|my|mine|myself|we|us|our|ours|ourselves",
    "german": "ich|mich|mir|mein\\w{0,2}|wir|uns(?:er\\w{0,2})?",
    "french": "je|j|me|m|moi|mon|ma|mes|mienne?s?|nous|notre|nos",
    "dutch": "ik|me|mij|mijn|wij|we|ons|onze",
}
_PATTERNS = {language: re.compile(rf"\b(?:{words})\b", re.IGNORECASE) for language, words in _WORDS.items()}


def has_first_person(text: str, language: str) -> bool | None:
    """Return whether a text in a language, such as `english`, has a first person; None for other languages."""
    pattern = _PATTERNS.get(language)
    return None if pattern is None else pattern.search(text) is not None

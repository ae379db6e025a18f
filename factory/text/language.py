"""Which language a text is in, by lingua.

In lingua's low-accuracy mode: 70 MB a process where full accuracy takes 900, and it is meant for
texts longer than a few words, which these are.
"""

import re
from functools import cache, lru_cache

from lingua import Language, LanguageDetector, LanguageDetectorBuilder

READ = 500
"""How many characters of a text are looked at. It is the dearest of all rules: 4 ms for a thousand."""

_ALSO = {"NORWEGIAN": ("BOKMAL", "NYNORSK"), "MANDARIN": ("CHINESE",), "FARSI": ("PERSIAN",), "FLEMISH": ("DUTCH",)}
_NAMES = {language.name: (language.name,) for language in Language.all()} | _ALSO
_NAMED = re.compile(rf"\b(?:{'|'.join(_NAMES)})\b", re.IGNORECASE)
_LIKES = (
    frozenset({"BOKMAL", "NYNORSK", "DANISH"}),
    frozenset({"BOSNIAN", "CROATIAN", "SERBIAN"}),
    frozenset({"MALAY", "INDONESIAN"}),
)
"""Languages that are close enough for the detector to take one for another."""
_NOT_PROSE = re.compile(r"```.*?(?:```|\Z)|`[^`\n]*`|\$[^$\n]*\$|\\[\[(].{0,500}?\\[\])]|https?://\S+", re.DOTALL)


@cache
def _detector() -> LanguageDetector:
    return LanguageDetectorBuilder.from_all_languages().with_low_accuracy_mode().build()


def prose(text: str) -> str:
    """A text without its code, formulas and links."""
    return _NOT_PROSE.sub(" ", text)


@lru_cache(16)
def detect(text: str) -> tuple[str, float] | None:
    """The likeliest language of a text and its probability; None where there is nothing to tell by."""
    values = _detector().compute_language_confidence_values(text[:READ])
    return (values[0].language.name, values[0].value) if values and values[0].value else None


def likelihood(text: str, name: str, others: frozenset[str]) -> float:
    """How likely it is that a text, which may be short, is in a language and not in one of some others.

    In full accuracy: trigrams alone take `How do I bake bread?` for Spanish. It is asked seldom, and
    takes memory for the languages that it is asked about alone (40 MB for German beside English).
    """
    return _telling_apart(others | {name}).compute_language_confidence(text[:READ], getattr(Language, name))


@cache
def _telling_apart(names: frozenset[str]) -> LanguageDetector:
    return LanguageDetectorBuilder.from_languages(*(getattr(Language, name) for name in sorted(names))).build()


def languages_named(text: str) -> frozenset[str]:
    """The languages that a text names in English, such as `Write it in Spanish`."""
    return frozenset(name for match in _NAMED.findall(text) for name in _NAMES[match.upper()])


def with_likes(names: frozenset[str]) -> frozenset[str]:
    """Languages, and those that the detector takes them for."""
    return names.union(*(group for group in _LIKES if group & names))

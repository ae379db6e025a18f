"""Language identification by lingua.

In its low-accuracy mode: 70 MB per process instead of 900 MB, and meant for texts of more than a few words.
"""

import re
from collections.abc import Mapping
from functools import cache, lru_cache

from lingua import Language, LanguageDetector, LanguageDetectorBuilder

READ = 500
"""Number of characters of a text to examine. This is the slowest of all rules: 4 ms for a thousand."""
SAMPLES = (100, 200)
"""Numbers of these characters, half from each end, that suffice where they show the expected language."""
MIN_SHARE = 0.01
"""Share of the dialogues from which a language is on a card."""

_ALSO = {"NORWEGIAN": ("BOKMAL", "NYNORSK"), "MANDARIN": ("CHINESE",), "FARSI": ("PERSIAN",), "FLEMISH": ("DUTCH",)}
_NAMES = {language.name: (language.name,) for language in Language.all()} | _ALSO
_NAMED = re.compile(rf"\b(?:{'|'.join(_NAMES)})\b", re.IGNORECASE)
_SIMILAR = (
    frozenset({"BOKMAL", "NYNORSK", "DANISH"}),
    frozenset({"BOSNIAN", "CROATIAN", "SERBIAN"}),
    frozenset({"MALAY", "INDONESIAN"}),
)
"""Groups of languages that the detector confuses."""
_NOT_PROSE = re.compile(r"```.*?(?:```|\Z)|`[^`\n]*`|\$[^$\n]*\$|\\[\[(].{0,500}?\\[\])]|https?://\S+", re.DOTALL)


@cache
def _detector() -> LanguageDetector:
    return LanguageDetectorBuilder.from_all_languages().with_low_accuracy_mode().build()


def prose(text: str) -> str:
    """Return a text without its code, formulas and links."""
    return _NOT_PROSE.sub(" ", text)


@lru_cache(16)
def detect(text: str) -> tuple[str, float] | None:
    """Return the most likely language of a text and its probability, or None without evidence."""
    values = _detector().compute_language_confidence_values(text[:READ])
    return (values[0].language.name, values[0].value) if values and values[0].value else None


def code_of(name: str) -> str:
    """Return the two letters of ISO 639-1 for a language by lingua's name, such as `de` for GERMAN."""
    return str(getattr(Language, name).iso_code_639_1.name).lower()


def language_codes(shares: Mapping[str, float]) -> list[str]:
    """Return the codes of languages for the front matter of a card.

    Args:
        shares: of each language, as a run names it; rare ones may be errors of the detector, and are left out.
    """
    named = [name for text, share in shares.items() if share >= MIN_SHARE for name in sorted(languages_named(text))]
    return list(dict.fromkeys(map(code_of, named)))


def detect_expected(text: str, expected: frozenset[str], min_confidence: float) -> tuple[str, float] | None:
    """Detect a language that is probably one of `expected`, from a sample where that is as sure as required.

    Other languages are only found in the whole text, so a sample by itself rejects nothing.
    """
    text = text[:READ]
    for sample in SAMPLES:
        if len(text) > sample:
            found = detect(f"{text[: sample // 2]} {text[-sample // 2 :]}")
            if found and found[0] in expected and found[1] >= min_confidence:
                return found
    return detect(text)


def differ_in_language(left: str, right: str, min_confidence: float = 0.9) -> bool:
    """Return whether two texts are surely in different languages; takes milliseconds."""
    found = [detect(prose(text)) for text in (left, right)]
    if not all(each and each[1] >= min_confidence for each in found):
        return False
    (one, _), (other, _) = (each or ("", 0.0) for each in found)
    return other not in with_similar(frozenset({one}))


def likelihood(text: str, name: str, others: frozenset[str]) -> float:
    """Return the probability that a text, which may be short, is in a language and not in one of `others`.

    In full accuracy: trigrams alone take `How do I bake bread?` for Spanish. It is called rarely, and needs
    memory only for the languages given (40 MB for German and English).
    """
    return _detector_of(others | {name}).compute_language_confidence(text[:READ], getattr(Language, name))


@cache
def _detector_of(names: frozenset[str]) -> LanguageDetector:
    return LanguageDetectorBuilder.from_languages(*(getattr(Language, name) for name in sorted(names))).build()


def languages_named(text: str) -> frozenset[str]:
    """Return the languages that a text names in English, such as `Write it in Spanish`."""
    return frozenset(name for match in _NAMED.findall(text) for name in _NAMES[match.upper()])


def with_similar(names: frozenset[str]) -> frozenset[str]:
    """Return languages together with those that the detector confuses them with."""
    return names.union(*(group for group in _SIMILAR if group & names))

"""Rules for the items that are sentences: appearance, experience and personality."""

import re
import unicodedata
from collections import Counter
from functools import lru_cache
from itertools import combinations

import numpy as np

from factory.records import ProfileFields
from factory.synthesis.profile_rules.sheet import UNSPACED_PER_WORD, Sheet, word_count
from factory.text.language import detect_expected, with_similar
from factory.text.ngrams import contained, ngrams, shingles, word_hashes

MIN_WORDS = {"appearance": 5, "experience": 8, "personality": 5}
MIN_OWN_WORDS = 3
"""Of a long item beside the eight: "He cannot read." is a secret."""
TWICE_NGRAM, TWICE_SHARE, TWICE_LEAST = 4, 0.3, 6
"""Two items say the same if they share this part of the n-grams of the shorter one, which has at least so many."""
LOOPS, LOOP_LEAST = {3: 0.35, 5: 0.25}, 14
"""Words of an n-gram, and the part of an item's n-grams that may repeat earlier ones, in items of so many n-grams."""
ECHO_NGRAM, ECHO_SHARE = 5, 0.3
FOREIGN_SHARE, FOREIGN_LEAST = 0.01, 3
"""Letters of another script that are a part of a text's letters, and their least number."""
MIN_CONFIDENCE, MIN_LETTERS = 0.9, 80

_MARKS = "[.!?…。！？｡।॥؟۔։။។៕]"  # noqa: RUF001 - in many scripts
_END, _ENDS = re.compile(_MARKS), re.compile(_MARKS + "['\"”’»」』)）\\]]{0,3}\\Z")  # noqa: RUF001
_FREE_ENDS = re.compile("[\u0e00-\u0eff\u1780-\u17ff]['\"”’»)]{0,2}\\Z")  # noqa: RUF001
"""Thai, Lao and Khmer may end a sentence without a mark."""
_FINAL_FORMS = re.compile("[다요죠음함임됨]\\Z|[るただいすねよん]\\Z")
"""Of Korean and Japanese verbs, which end a sentence by themselves."""
_COMPLETE = (_ENDS, _FREE_ENDS, _FINAL_FORMS)
_LATIN = "LATIN"
_SCRIPTS = {
    "KOREAN": ("HANGUL", "CJK"), "JAPANESE": ("HIRAGANA", "KATAKANA", "CJK"), "CHINESE": ("CJK", "BOPOMOFO"),
    "RUSSIAN": ("CYRILLIC",), "UKRAINIAN": ("CYRILLIC",), "BULGARIAN": ("CYRILLIC",), "SERBIAN": ("CYRILLIC",),
    "GREEK": ("GREEK",), "ARABIC": ("ARABIC",), "PERSIAN": ("ARABIC",), "URDU": ("ARABIC",), "HEBREW": ("HEBREW",),
    "HINDI": ("DEVANAGARI",), "MARATHI": ("DEVANAGARI",), "THAI": ("THAI",), "BENGALI": ("BENGALI",),
    "TAMIL": ("TAMIL",), "TELUGU": ("TELUGU",), "GUJARATI": ("GUJARATI",), "PUNJABI": ("GURMUKHI",),
    "GEORGIAN": ("GEORGIAN",), "ARMENIAN": ("ARMENIAN",),
}  # fmt: skip
"""The scripts of languages that are not written in Latin letters, which all texts may have some of."""


def cut_off(sheet: Sheet) -> str | None:
    """Return which item is at its bound, or ends without a full stop behind others that have one."""
    for name, text in sheet.long.items():
        if len(text) >= (sheet.own.get(name) or bound(name)):
            return f"{name} is at its bound: {text[-40:]}"
        if _END.search(text) and not any(end.search(text) for end in _COMPLETE):
            return f"{name} ends with: {text[-40:]}"
    return None


@lru_cache
def bound(name: str) -> int:
    """Return the most characters of one of the eight in guided decoding."""
    extra = ProfileFields.model_fields[name].json_schema_extra
    assert isinstance(extra, dict)
    return int(str(extra["maxLength"]))


def thin(sheet: Sheet) -> str | None:
    """Return which item has too few words."""
    for name, least in (MIN_WORDS | dict.fromkeys(sheet.own_long, MIN_OWN_WORDS)).items():
        if word_count(sheet.words[name]) < least:
            return f"{name}: {sheet.items[name]}"
    return None


def said_twice(sheet: Sheet) -> str | None:
    """Return which two items say the same."""
    grams = {name: shingles(word_hashes(text), _scaled(TWICE_NGRAM, sheet)) for name, text in sheet.long.items()}
    for one, other in combinations(grams, 2):
        least = min(len(grams[one]), len(grams[other]))
        same = len(np.intersect1d(grams[one], grams[other], assume_unique=True))
        if (least >= TWICE_LEAST and same > TWICE_SHARE * least) or sheet.words[one] == sheet.words[other]:
            return f"{one} and {other}"
    return None


def loop(sheet: Sheet) -> str | None:
    """Return which item repeats itself."""
    for name, text in sheet.long.items():
        hashes = word_hashes(text)
        for words, share in LOOPS.items():
            grams = ngrams(hashes, _scaled(words, sheet))
            repeated = len(grams) - len(np.unique(grams))
            if len(grams) >= LOOP_LEAST and repeated > share * len(grams):
                return f"{name}: {repeated / len(grams):.0%} of it repeats earlier words"
    return None


def prompt_echo(sheet: Sheet, prompt: np.ndarray) -> str | None:
    """Return which item repeats the prompt.

    Args:
        sheet: the profile.
        prompt: `prompt_ngrams` of the prompt's own text.
    """
    for name, text in sheet.items.items():
        grams = ngrams(word_hashes(text), ECHO_NGRAM)
        if len(grams) and contained(grams, prompt).sum() > max(1, ECHO_SHARE * len(grams)):
            return f"{name}: {text[:80]}"
    return None


def prompt_ngrams(text: str) -> np.ndarray:
    """Return the n-grams of a prompt that `prompt_echo` looks for."""
    return shingles(word_hashes(text), ECHO_NGRAM)


def foreign_letters(sheet: Sheet) -> str | None:
    """Return letters of a script that the profile's language is not written in."""
    if len(sheet.languages) != 1:
        return None
    own = _SCRIPTS.get(next(iter(sheet.languages)), ())
    scripts = Counter(_script(character) for character in sheet.story if character.isalpha())
    foreign = {name: count for name, count in scripts.items() if name not in own and name != _LATIN}
    most = max(foreign, key=foreign.__getitem__, default="")
    is_much = most and foreign[most] >= FOREIGN_LEAST and foreign[most] > FOREIGN_SHARE * sum(scripts.values())
    return f"{foreign[most]} letters: {most.title()}" if is_much else None


def wrong_language(sheet: Sheet) -> str | None:
    """Return the language of the profile if it is surely another one than it was asked for in."""
    if not sheet.languages or sum(map(str.isalpha, sheet.story)) < MIN_LETTERS:
        return None
    expected = with_similar(sheet.languages)
    name, confidence = detect_expected(sheet.story, expected, MIN_CONFIDENCE) or ("", 0.0)
    return name.title() if confidence >= MIN_CONFIDENCE and name not in expected else None


def _scaled(words: int, sheet: Sheet) -> int:
    """Return the length of n-grams: more in a script in which a character counts as a word."""
    found = [word for name in sheet.long for word in sheet.words[name]]
    return round(words * (UNSPACED_PER_WORD if word_count(found) < 0.7 * len(found) else 1))


@lru_cache(1 << 14)
def _script(letter: str) -> str:
    return unicodedata.name(letter, "UNKNOWN").split()[0].removesuffix("-COMPATIBILITY")

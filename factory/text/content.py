"""What a text is about: its code, names and word stems, to compare a rewritten text with its source."""

import re
from functools import lru_cache

from factory.text.ngrams import is_unspaced, words

_CODE = re.compile(r"```(.*?)(?:```|\Z)", re.DOTALL)
_WORD = re.compile(r"[^\W\d_][\w\u2019'-]*+")
_NO_SENTENCE_START = re.compile(r"[\w,;)%\u2019'-] \Z")
_HANGUL, _ARABIC_ARTICLE = re.compile("[가-힣]"), re.compile("^[وفبكل]?(?:ال|لل)(?=.{2})")
STEM_LETTERS, HANGUL_STEM = 5, 2
MIN_STEM_WORD = 4
"""Shorter words in letters are mostly articles, pronouns and prepositions."""
MAX_CAPITALS = 0.25
"""Where more of the words within sentences have a capital, as German nouns and headings do, it shows no names."""


def code_blocks(text: str) -> list[str]:
    """Return what is in the text's fenced code blocks."""
    return _CODE.findall(text)


def without_code(text: str) -> str:
    """Return a text without its fenced code blocks."""
    return _CODE.sub(" ", text)


@lru_cache(16)  # the characters of an instruction share its reference
def names(text: str) -> frozenset[str]:
    """Return names: words with a capital within a sentence that the text has nowhere in lower case.

    There are none in scripts without capitals, and in texts where too many words have one.
    """
    within = 0
    lower: set[str] = set()
    found: list[str] = []
    end = -1
    for match in _WORD.finditer(text):
        word, start = match[0], match.start()
        if word[0].islower():
            lower.add(word.lower())
        is_within = _NO_SENTENCE_START.match(text, max(0, start - 2), start) is not None
        within += is_within
        if is_within and word[0].isupper() and len(word) > 2:
            if start == end + 1 and found:
                found[-1] += f" {word}"
            else:
                found.append(word)
            end = match.end()
    if len(found) > MAX_CAPITALS * within:
        return frozenset()
    return frozenset(name for name in found if name.lower() not in lower and not name.startswith(("I'", "I\u2019")))


def stems(text: str) -> set[str]:
    """Return the beginnings of a text's longer words; pairs of characters in scripts without spaces."""
    if text.isascii():
        return {word[:STEM_LETTERS] for word in words(text) if len(word) >= MIN_STEM_WORD and not word.isdecimal()}
    found: set[str] = set()
    before = ""
    for word in words(text):
        if is_unspaced(word):
            found.add(before + word)
            before = word
            continue
        before = ""
        if _HANGUL.match(word):
            found.add(word[:HANGUL_STEM])
        elif len(word) >= MIN_STEM_WORD and not word.isdecimal():
            found.add(_ARABIC_ARTICLE.sub("", word)[:STEM_LETTERS])
    return found

"""How many words and sentences a reply has."""

import re

_SENTENCE_END = re.compile(r"(?:(?<![.!?…])[.!?…]++[*_\"'”’»)\]]*+(?=\s)|[。！？]+[」』]*)\s*|\n\s*\n\s*")  # noqa: RUF001
_ITEM = re.compile(r"\**\d{1,9}\.")
_NO_END = re.compile(r"(?:^|[\s(])(?:Mr|Mrs|Ms|Dr|Prof|St|vs|e\.g|i\.e|approx)\.$", re.IGNORECASE)
"""Abbreviations that never end a sentence."""
_MAYBE_END = re.compile(r"(?:[!?…][*_\"'”’»)\]]++|(?<!\.)\.\.++|…|(?:etc|a\.m|p\.m|U\.S)\.)$", re.IGNORECASE)  # noqa: RUF001
"""These end a sentence only where the next word does not start with a lowercase letter."""
_ABBREVIATION = 12
"""How many characters before a full stop are searched for an abbreviation."""


def count_words(text: str) -> int:
    """Count words; a single dash or bullet is not a word."""
    return sum(any(map(str.isalnum, word)) for word in text.split())


def count_sentences(text: str) -> int:
    """Count sentences, including a last one without a full stop."""
    count, start = 0, 0
    for end in _SENTENCE_END.finditer(text):
        before = text[max(start, end.start() - _ABBREVIATION) : end.end()].rstrip()
        following = text[end.end() : end.end() + 1]
        is_item = end.start() - start <= _ABBREVIATION and _ITEM.fullmatch(before)
        if is_item or _NO_END.search(before) or (following.islower() and _MAYBE_END.search(before)):
            continue
        count += bool(count_words(text[start : end.end()]))
        start = end.end()
    return count + bool(count_words(text[start:]))

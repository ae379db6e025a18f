"""Prepares judges' replies for reading: quotations are blanked, and numbers of all scripts become those of ASCII.

Positions stay as they are: each character is replaced by one.
"""

# ruff: noqa: RUF001 - quotations in many scripts

import re
import unicodedata
from functools import lru_cache

from factory.evaluation import verdict_words as words

_MARKS = frozenset("*_`#\\$\u200b\u200c\u200d\u2060\ufe0f\u20e3\ufeff")
"""Marks that change neither words nor numbers."""
_QUOTES = tuple(
    re.compile(pattern)
    for pattern in (
        r"„[^„“”]{1,2000}+[“”]?",
        r"“[^“”]{1,2000}+”?",
        r"”[^”\n]{1,2000}+”",
        r"«[^«»]{1,2000}+»?",
        r"»[^«»\n]{1,2000}+«",
        r"「[^「」]{1,2000}+」?",
        r"『[^『』]{1,2000}+』?",
        r"‘(?:[^‘’]|(?<=\w)’(?=\w)){1,2000}+’?",
        r"(?<![^\W_])'(?=[^\s'])(?:[^'\n]|(?<=\w)'(?=\w)){1,2000}+'(?![^\W_])",
        r'(?<![^\W_])(?<![.,!?)])"(?=[^\s"])(?:[^"]|"(?=[^\W_])){1,2000}+"?',
    )
)
_LINES_OF_ANOTHER = re.compile(r"(?m)^[ \t]{0,8}>[^\n]*+$")
_FENCE = re.compile(r"```[^\n`]{0,40}\n[^`]{0,20000}(?:```|\Z)")
_TEXT_OF_ANOTHER = re.compile(
    r"<(response|reply|answer|quote|blockquote|q|cite|example|question|persona)\b[^<>\n]{0,40}>"
    r"[^<]{0,20000}(?:</\1>|\Z)",
    re.IGNORECASE,
)
_FIELD_TAG = re.compile(r"<((?:final_)?(?:score|rating))>", re.IGNORECASE)
_TAG = re.compile(r"</?[a-zA-Z_]{1,16}>")


def own_words(text: str) -> str:
    """Return a text of the same length without marks, tags and what it quotes, its digits those of ASCII."""
    unfenced = _FENCE.sub(_blank, text)
    return in_ascii(without_quotations(unfenced if any(map(str.isalnum, unfenced)) else text))


def without_quotations(text: str) -> str:
    """Return a text of the same length without tags and what it quotes."""
    for pattern in (_LINES_OF_ANOTHER, _TEXT_OF_ANOTHER):
        text = pattern.sub(_blank, text)
    text = _TAG.sub(_blank, _FIELD_TAG.sub(r"\1: ", text))
    for quotes in _QUOTES:
        text = quotes.sub(_unless_a_value, text)
    return text


def _blank(found: re.Match[str]) -> str:
    return "".join("\n" if character == "\n" else " " for character in found[0])


def _unless_a_value(found: re.Match[str]) -> str:
    """Blank a quotation; a number or a name of the score in quotation marks is none."""
    inner = found[0].strip("\"'“”„‘’«»「」『』*_` .:=").casefold().replace("_", " ")
    is_name = re.fullmatch(rf"(?:the\s)?(?:{words.FINAL}|{words.PLAIN})", inner) is not None
    is_value = not any(map(str.isalpha, inner)) or inner in words.NUMBERS
    return found[0] if is_name or is_value else _blank(found)


def in_ascii(text: str) -> str:
    """Return a text of the same length without marks, its digits those of ASCII."""
    return "".join(map(_plain_character, text))


@lru_cache(maxsize=4096)
def _plain_character(character: str) -> str:
    """Return a character's plain form: a digit of another script or style as its value, a mark as a space."""
    if character in _MARKS:
        return " "
    digit = unicodedata.digit(character, None)
    if digit is not None:
        return str(digit)
    plain = unicodedata.normalize("NFKC", character)
    return plain if len(plain) == 1 and plain.isalpha() else character

"""Raw values to clean text: Unicode NFC, no stray whitespace, nothing that UTF-8 cannot hold."""

import re
import unicodedata
from typing import Any

from factory.records import Reject

MAX_CHARACTERS = 100_000
"""No model's window holds more; without a bound one row could fill a worker's memory."""

_SPACE = re.compile(r"\s+")
_UNENCODABLE = re.compile("[\x00\ud800-\udfff]")
"""NUL bytes, which end strings elsewhere, and lone surrogates, which are half a character."""

_IGNORABLE = (
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164"
    "\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0100-\U000e01ef"
)
"""Unicode's default ignorable characters: joiners, fillers, marks of direction and of order, choices of a glyph.

Without its tags (U+E0000 to U+E007F), which tell the flag of Scotland from that of Wales.
"""
_VISIBLE = re.compile(rf"[^\s{_IGNORABLE}\x00-\x1f\x7f-\x9f\u2800\U000e0000-\U000e007f]")
_UNSEEN = re.compile(rf"(?<=\s)[{_IGNORABLE}]+\s|[{_IGNORABLE}]+")
"""Ignorable characters; with one of the spaces where they stand between two."""


def is_text(text: str) -> bool:
    """Whether UTF-8 and what reads it can hold a text."""
    return not _UNENCODABLE.search(text)


def identity(text: str) -> str:
    """Return a clean text without what nobody sees: texts that differ in nothing else are the same.

    For comparing alone. Emoji are joined by such characters, and words of Persian or Hindi need them.
    """
    return text if text.isascii() else _UNSEEN.sub("", text).strip()


def shortened(text: str, most: int) -> str:
    """Return a text, or the head of a longer one and how much is missing, in `most` characters (50 at least)."""
    if len(text) <= most:
        return text
    head = text[: most - 50]
    return f"{head} ... and {len(text) - len(head):,} more characters"


def sentence(value: Any) -> str | Reject:
    """A single line of text, runs of whitespace made one space."""
    text = _text(value)
    return text if isinstance(text, Reject) else _SPACE.sub(" ", text)


def paragraphs(value: Any) -> str | Reject:
    """A text that keeps its lines, which end in a line feed alone."""
    text = _text(value)
    return text if isinstance(text, Reject) else text.replace("\r\n", "\n").replace("\r", "\n")


def _text(value: Any) -> str | Reject:
    if value is None:
        return Reject("empty", "null")
    if not isinstance(value, str):
        return Reject("not_text", repr(value)[:2000])
    if len(value) > MAX_CHARACTERS:
        return Reject("too_long", f"{len(value)} characters: {value[:2000]}")
    if not is_text(value):
        return Reject("invalid_text", value.replace("\x00", "\\x00")[:2000])
    if not _VISIBLE.search(value):
        return Reject("empty", ascii(value)[:2000])
    return unicodedata.normalize("NFC", value).strip()

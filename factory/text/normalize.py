"""Normalization of raw values to clean text: Unicode NFC, no extra whitespace, valid UTF-8."""

import re
import unicodedata
from typing import Any

from factory.records import Reject

MAX_CHARACTERS = 100_000
"""More than any context window holds; without a limit one row could fill a worker's memory."""

_SPACE = re.compile(r"\s+")
_UNENCODABLE = re.compile("[\x00\ud800-\udfff]")
"""NUL bytes, which end strings in C, and lone surrogates, which are half a character."""

_IGNORABLE = (
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164"
    "\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0100-\U000e01ef"
)
"""Unicode's default ignorable characters: joiners, fillers, direction and order marks, variation selectors.

Without tags (U+E0000 to U+E007F), which distinguish the flags of Scotland and Wales.
"""
_VISIBLE = re.compile(rf"[^\s{_IGNORABLE}\x00-\x1f\x7f-\x9f\u2800\U000e0000-\U000e007f]")
_INVISIBLE = re.compile(rf"(?<=\s)[{_IGNORABLE}]+\s|[{_IGNORABLE}]+")
"""Ignorable characters, and one of the spaces if they are between two."""


def is_text(text: str) -> bool:
    """Return whether a text can be stored as UTF-8 without NUL bytes."""
    return not _UNENCODABLE.search(text)


def remove_invisible(text: str) -> str:
    """Return a clean text without invisible characters, for comparisons only.

    Emoji are joined by such characters, and words of Persian or Hindi need them.
    """
    return text if text.isascii() else _INVISIBLE.sub("", text).strip()


def shorten(text: str, limit: int) -> str:
    """Return a text of at most `limit` characters (at least 50): its head, and how much is missing."""
    if len(text) <= limit:
        return text
    head = text[: limit - 50]
    return f"{head} ... and {len(text) - len(head):,} more characters"


def clean_line(value: Any) -> str | Reject:
    """Return a value as a single line of text, with single spaces."""
    text = _text(value)
    return text if isinstance(text, Reject) else _SPACE.sub(" ", text)


def clean_paragraphs(value: Any) -> str | Reject:
    """Return a value as text that keeps its lines, with line feeds as the only line ending."""
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

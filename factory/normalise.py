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


def is_text(text: str) -> bool:
    """Whether UTF-8 and what reads it can hold a text."""
    return not _UNENCODABLE.search(text)


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
    text = unicodedata.normalize("NFC", value).strip()
    return text or Reject("empty", repr(value)[:2000])

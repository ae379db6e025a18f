"""Rows as the page shows them: personal data masked, texts cut, and measured by the bytes that they take there."""

from collections.abc import Callable, Mapping
from typing import Any

from factory.report.html import as_json

Mask = Callable[[str], str]
"""Puts their kind in place of the personal data of a text."""
TEXT = 4000
"""The most characters that are shown of one text."""
NO_TEXT = frozenset(
    ("character_id", "dialogue_id", "instruction_id", "item_id", "question_id", "status", "reason", "model", "prompt")
)
"""Columns whose values are the factory's own words; an id may look like a card's number."""


class Room:
    """What is left of the page for one kind of rows, in bytes."""

    def __init__(self, size: int) -> None:
        self._left = size
        self.out = 0
        """Rows that had no room."""

    def takes(self, row: Any) -> bool:
        """Whether a row, as JSON has it, still fits; it is counted in, or out."""
        size = len(as_json(row).encode())
        fits = size <= self._left
        self._left -= size if fits else 0
        self.out += not fits
        return fits


def cut(row: Mapping[str, Any], mask: Mask) -> dict[str, Any]:
    """A row with its texts masked and cut to what is shown."""
    shown = {
        name: clipped(value, mask) if isinstance(value, str) and name not in NO_TEXT else value
        for name, value in row.items()
    }
    if row.get("messages"):
        turns = [one if isinstance(one, dict) else {} for one in row["messages"]]
        shown["messages"] = [
            {name: clipped(str(one[name]), mask) for name in ("role", "content") if one.get(name)} for one in turns
        ]
    return shown


def clipped(text: str, mask: Mask) -> str:
    """The beginning of a text without its personal data, and how much more there is of it."""
    text = mask(text)  # before it is cut, which may halve a number
    return text if len(text) <= TEXT else f"{text[:TEXT]} … [{len(text) - TEXT:,} more characters are in the table]"

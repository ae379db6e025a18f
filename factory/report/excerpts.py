"""Rows as the page shows them: personal data masked, long texts shortened, and their total size limited."""

from collections.abc import Callable, Mapping
from typing import Any

from factory.report.html import to_json

Mask = Callable[[str], str]
"""Replaces the personal data in a text by its kind."""
MAX_TEXT = 4000
"""Maximum characters shown of one text."""
UNMASKED = frozenset(
    ("character_id", "dialogue_id", "instruction_id", "item_id", "question_id", "status", "reason", "model", "prompt")
)
"""Columns whose values the factory writes itself; an id may look like a card number."""


class ByteBudget:
    """The bytes of the page that are left for one kind of rows."""

    def __init__(self, size: int) -> None:
        self._left = size
        self.dropped = 0
        """Rows that did not fit."""

    def fits(self, row: Any) -> bool:
        """Return whether a row, as JSON, still fits, and subtract it from the budget if so."""
        size = len(to_json(row).encode())
        fits = size <= self._left
        self._left -= size if fits else 0
        self.dropped += not fits
        return fits


def excerpt_row(row: Mapping[str, Any], mask: Mask) -> dict[str, Any]:
    """Return a row with its texts masked and shortened."""
    shown = {
        name: excerpt(value, mask) if isinstance(value, str) and name not in UNMASKED else value
        for name, value in row.items()
    }
    if row.get("thoughts"):
        shown["thoughts"] = [excerpt(str(thought or ""), mask) for thought in row["thoughts"]]
    if row.get("messages"):
        turns = [turn if isinstance(turn, dict) else {} for turn in row["messages"]]
        shown["messages"] = [
            {name: excerpt(str(turn[name]), mask) for name in ("role", "content") if turn.get(name)} for turn in turns
        ]
    return shown


def excerpt(text: str, mask: Mask) -> str:
    """Return the masked beginning of a text, and how many more characters it has."""
    text = mask(text)  # before it is shortened, which could split a number
    if len(text) <= MAX_TEXT:
        return text
    return f"{text[:MAX_TEXT]} … [{len(text) - MAX_TEXT:,} more characters are in the table]"

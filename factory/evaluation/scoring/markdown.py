"""Markdown for people: text that stays text, and tables."""

import re
from collections.abc import Sequence

_SPECIAL = re.compile(r"[\\`*\[\]<>|~&]|(?<!\w)_|_(?!\w)")  # an underscore inside a word is plain text


def escape(value: str) -> str:
    """Escape names and messages: nothing in them is Markdown, ends a cell or begins a line."""
    return _SPECIAL.sub(r"\\\g<0>", " ".join(value.split()))


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]], names: int = 1) -> str:
    """Return a table whose first columns are names and whose others are numbers."""
    lines = [head, [*["---"] * names, *["---:"] * (len(head) - names)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)

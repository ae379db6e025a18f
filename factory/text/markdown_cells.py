"""Markdown of a card, safe for any text in its data."""

import json
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import jinja2


@cache
def load_template(path: Path) -> jinja2.Template:
    """Return the template of a card, with the functions of this module as filters."""
    environment = jinja2.Environment(  # Markdown, escaped by `cell` and `fenced`
        undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    environment.filters |= {
        "cell": cell,
        "fenced": fenced,
        "json": indented_json,
        "python": python_text,
        "number": "{:,}".format,
    }
    return environment.from_string(path.read_text(encoding="utf-8"))


def cell(text: object) -> str:
    """Return a text on one line with Markdown and HTML escaped, for a table cell or a sentence."""
    line = " ".join("".join(c if c.isprintable() else " " for c in str(text)).split())
    return re.sub(r"([\\`*_\[\]<>|#&~!$])", r"\\\1", line)


def fenced(text: str, language: str = "") -> str:
    """Return a text as a code block, with a fence longer than any in the text."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text.rstrip(chr(10))}\n{fence}"


def indented_json(row: Mapping[str, object]) -> str:
    """Return a row as indented JSON."""
    return json.dumps(row, indent=2, ensure_ascii=False)


def python_text(text: str) -> str:
    """Return a text as a string of Python, on as many lines as it has."""
    return f'"""{text}"""' if not re.search(r'["\\]', text) else repr(text)

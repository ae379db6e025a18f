"""A lineage as text for the terminal: a heading per step, and below it how its table was built and its rows.

Personas and replies are printed as text: their markup is not interpreted, and control characters are escaped.
"""

import sys
import unicodedata
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

from rich.cells import cell_len
from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.table import Table as Grid
from rich.text import Text

from factory.lineage.lineage_steps import Lineage, LineageStep

PLAIN_WIDTH = 140
"""Width in columns where the output is not a terminal."""
MAX_TEXT = 6000
"""Maximum characters shown of a text; a profile has about 2,000."""
MAX_CELL = 24
"""Minimum width of a cell before the last one, if its text needs it; an id takes 16."""
INDENT = 4
_JOINERS = "\u200c\u200d"
"""Invisible, but part of how Persian and emoji are written."""

_TEXTS = {
    "persona": ("persona",),
    "persona of the evaluation": ("persona",),
    "profile": ("profile",),
    "profile of the evaluation": ("profile",),
    "instruction": ("messages",),
    "dialogues": ("messages",),
    "curated": ("messages",),
    "packed": ("tokens",),
    "question": ("task", "question"),
    "example replies": ("examples",),
    "answers": ("answer",),
    "judgments": ("score", "expected_score", "reasoning"),
}
"""The texts to show of a step with one row."""
_COLUMNS = {
    "dialogues": ("dialogue_id", "status", "character_id", "instruction_id", "messages"),
    "characters": ("character_id", "name", "persona"),
    "curated": ("dialogue_id", "split", "status", "rule"),
    "packed": ("dialogue_id", "status", "tokens"),
    "training": ("dialogue_id", "status"),
    "questions": ("question_id", "task", "question"),
    "answers": ("question_id", "status", "task", "answer"),
    "judgments": ("question_id", "status", "task", "score", "reasoning"),
}
"""The columns to show of a step with several rows, a line each."""
_BUILD_SETTINGS = (
    "prompt", "system", "ref", "revision", "base_model", "model", "engine", "sampling", "seed", "language",
    "engine_kwargs", "structured", "attempts", "column", "format", "near_duplicates", "benchmark_words",
    "max_per_character", "validation_fraction", "chat_template", "chat_template_kwargs", "sequence_length",
    "overlong", "learn_thoughts", "epochs", "learning_rate", "global_batch_size", "zero_stage", "lora",
)  # fmt: skip
"""The settings that are shown, in this order."""
_NAMES = {"ref": "model", "messages": "last message", "rule": "by"}
"""Clearer names of some columns and settings."""


def terminal() -> Console:
    """Return a console that interprets no markup, and prints plain text if the output is not a terminal."""
    console = Console(highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console = Console(highlight=False, markup=False, emoji=False, width=PLAIN_WIDTH)
        if hasattr(sys.stdout, "reconfigure"):
            sys.stdout.reconfigure(errors="backslashreplace")
    return console


def escape(text: Any) -> str:
    """Return a text with the characters escaped that move the cursor, change colors or reorder the output."""
    return "".join(c if c == "\n" or _is_printed(c) else c.encode("unicode_escape").decode() for c in str(text))


def _is_printed(character: str) -> bool:
    return character in _JOINERS or unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Cn", "Zl", "Zp")


def show(lineage: Lineage, console: Console) -> None:
    """Print a lineage."""
    kinds = " and ".join(lineage.kinds)
    console.print(Text.assemble((lineage.id, "bold"), escape(f"  {kinds} of {lineage.output}")))
    for (name, state), steps in groupby(lineage.steps, key=lambda step: (step.step, step.state)):
        if state == "not run":
            console.print()
            console.print(Text.assemble((name, "bold"), f"  not run yet: {', '.join(step.table for step in steps)}"))
            continue
        for step in steps:
            console.print()
            console.print(_heading(step))
            for part in _body(step, lineage.id):
                console.print(indented(part))


def indented(part: RenderableType) -> Padding:
    """Indent a part below its heading."""
    return Padding.indent(Text(part) if isinstance(part, str) else part, INDENT)


def _heading(step: LineageStep) -> Text:
    counts = ", ".join(f"{count:,} {reason}" for reason, count in step.reasons.items()) or "none"
    if step.total == 1:
        counts = _status(step.rows[0]) if step.rows else counts
    elif len(step.rows) < step.total:
        counts = f"{step.total:,}: {counts}; the first {len(step.rows):,}" if step.rows else f"{step.total:,}: {counts}"
    half = "  half done" if step.state == "half done" else ""
    color = "red" if step.total == 1 and set(step.reasons) - {"ok", "trained on", "not known"} else ""
    return Text.assemble((step.step, "bold"), "  ", escape(step.table), "  ", (escape(counts), color), (half, "yellow"))


def _body(step: LineageStep, id_: str) -> Iterator[RenderableType]:
    for note in step.notes:
        yield Text(f"note: {escape(note)}", "yellow")
    if step.rows:
        yield Text(escape(_build_line(step)), "dim")
    if step.step in _COLUMNS and (len(step.rows) > 1 or step.step not in _TEXTS):
        if step.step != "training" or len(step.rows) > 1:
            yield _row_grid(step, id_)
        return
    for row in step.rows:
        yield from _single_row(step, row)


def _build_line(step: LineageStep) -> str:
    """Return how a table was built: its prompt, model and settings, and when."""
    settings = [
        f"{_NAMES.get(name, name)} {_format(step.settings[name])}"
        for name in _BUILD_SETTINGS
        if step.settings.get(name) not in (None, {}, [])
    ]
    when = step.manifest.get("finished")
    return " · ".join([*settings, *([f"finished {when}"] if when else [])]) or "how it was built is not recorded"


def _format(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_format(item)}" for key, item in value.items() if item is not None)
    return ", ".join(map(_format, value)) if isinstance(value, list) else str(value)


def _status(row: dict[str, Any]) -> str:
    return str(row.get("reason") or row.get("status") or "")


def _single_row(step: LineageStep, row: dict[str, Any]) -> Iterator[RenderableType]:
    files = step.settings.get("files") or []
    if "source" in row and row["source"] < len(files):
        yield f"from row {row['row'] + 1:,} of {escape(files[row['source']]['path'])}"
    if row.get("output_tokens"):
        yield f"{row.get('prompt_tokens', 0):,} tokens in, {row['output_tokens']:,} out"
    if row.get("rule"):
        yield f"by {escape(_format(row['rule']))}"
    for name in (*_TEXTS.get(step.step, ()), "detail"):
        if name == "messages":
            yield from (labeled(m["role"], m["content"]) for m in row.get(name, ()))
        elif name == "examples":
            yield from (labeled(f"score {score}", text) for score, text in enumerate(row.get(name, ()), 1))
        elif name in row:
            yield labeled(name, row[name])


def labeled(label: str, value: Any) -> Text:
    """Return a value as text after its label."""
    text = f"{value:.2f}" if isinstance(value, float) else str(value)
    left = f" … ({len(text) - MAX_TEXT:,} more characters)" if len(text) > MAX_TEXT else ""
    return Text.assemble((f"{escape(label)}: ", "bold"), escape(text[:MAX_TEXT]), left)


def _row_grid(step: LineageStep, id_: str) -> Grid:
    names = [
        name
        for name in _COLUMNS[step.step]
        if name in ("status", "messages", "rule") or any(row.get(name) not in (None, id_) for row in step.rows)
    ]
    cells = [[_cell(name, row) for name in names] for row in step.rows]
    return build_grid([_NAMES.get(name, name) for name in names], cells)


def build_grid(names: Sequence[str], rows: Sequence[Sequence[str]]) -> Grid:
    """Build a table whose ids are complete and whose last column takes the rest of the width."""
    grid = Grid(box=None, padding=(0, 2, 0, 0), header_style="bold", pad_edge=False)
    for number, name in enumerate(names[:-1]):
        widest = max(cell_len(cell) for cell in (name, *(row[number] for row in rows)))
        grid.add_column(name, no_wrap=True, overflow="ellipsis", min_width=min(widest, MAX_CELL))
    grid.add_column(names[-1], no_wrap=True, overflow="ellipsis", ratio=1)
    for row in rows:
        grid.add_row(*(Text(cell) for cell in row))
    return grid


def _cell(name: str, row: dict[str, Any]) -> str:
    if name == "status":
        return escape(_status(row))
    if name == "messages":
        return first_line(row["messages"][-1]["content"] if row.get("messages") else row.get("detail", ""))
    if name == "rule":
        return first_line(_format(row.get("rule") or {}))
    if name in ("answer", "reasoning"):
        return first_line(row.get(name) or row.get("detail", ""))
    return first_line(row.get(name, ""))


def first_line(text: Any) -> str:
    """Return the beginning of a text on one line."""
    return escape(" ".join(str(text)[:MAX_TEXT].split()))

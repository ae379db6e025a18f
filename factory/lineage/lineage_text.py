"""A lineage for people: a heading a step, and below it how it was made and what it holds.

Whatever a persona or a reply says is text: no markup, and no control character reaches the terminal.
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

from factory.lineage.records_of import Lineage, Step

PLAIN_WIDTH = 140
"""Columns where there is no terminal that has a width."""
MAX_TEXT = 6000
"""Characters of a text that are shown; a profile has about 2,000."""
MAX_CELL = 24
"""Columns that a cell before the last has for certain; an id takes 16."""
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
"""What is shown of a row that is alone."""
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
"""What is shown of rows that are several, a line each."""
_MADE = (
    "prompt", "system", "ref", "revision", "base_model", "model", "engine", "sampling", "seed", "language",
    "engine_kwargs", "structured", "attempts", "column", "format", "near_duplicates", "benchmark_words",
    "max_per_character", "validation_fraction", "chat_template", "sequence_length", "too_long", "epochs",
    "learning_rate", "global_batch_size", "zero_stage", "lora",
)  # fmt: skip
"""The settings that are shown, in this order."""
_NAMES = {"ref": "model", "messages": "said", "rule": "by"}
"""What a column or setting is called where its own name tells a person little."""


def terminal() -> Console:
    """A console that takes texts as they are, and stays plain where there is no terminal."""
    console = Console(highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console = Console(highlight=False, markup=False, emoji=False, width=PLAIN_WIDTH)
        if hasattr(sys.stdout, "reconfigure"):
            sys.stdout.reconfigure(errors="backslashreplace")
    return console


def plain(text: Any) -> str:
    """A text without what would move the cursor, colour or reorder what is printed; it is escaped instead."""
    return "".join(c if c == "\n" or _prints(c) else c.encode("unicode_escape").decode() for c in str(text))


def _prints(character: str) -> bool:
    return character in _JOINERS or unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Cn", "Zl", "Zp")


def show(lineage: Lineage, console: Console) -> None:
    """Print a lineage."""
    kinds = " and ".join(lineage.kinds)
    console.print(Text.assemble((lineage.id, "bold"), plain(f"  {kinds} of {lineage.output}")))
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
    """Something below a heading."""
    return Padding.indent(Text(part) if isinstance(part, str) else part, INDENT)


def _heading(step: Step) -> Text:
    told = ", ".join(f"{count:,} {reason}" for reason, count in step.reasons.items()) or "none"
    if step.total == 1:
        told = status(step.rows[0]) if step.rows else told
    elif len(step.rows) < step.total:
        told = f"{step.total:,}: {told}; the first {len(step.rows):,}" if step.rows else f"{step.total:,}: {told}"
    half = "  half done" if step.state == "half done" else ""
    colour = "red" if step.total == 1 and set(step.reasons) - {"ok", "trained on", "not known"} else ""
    return Text.assemble((step.step, "bold"), "  ", plain(step.table), "  ", (plain(told), colour), (half, "yellow"))


def _body(step: Step, subject: str) -> Iterator[RenderableType]:
    for note in step.notes:
        yield Text(f"note: {plain(note)}", "yellow")
    if step.rows:
        yield Text(plain(made(step)), "dim")
    if step.step in _COLUMNS and (len(step.rows) > 1 or step.step not in _TEXTS):
        if step.step != "training" or len(step.rows) > 1:
            yield _grid(step, subject)
        return
    for row in step.rows:
        yield from _alone(step, row)


def made(step: Step) -> str:
    """How a table was made: its prompt, model and settings, and when."""
    told = [
        f"{_NAMES.get(name, name)} {_told(step.settings[name])}"
        for name in _MADE
        if step.settings.get(name) not in (None, {}, [])
    ]
    when = step.manifest.get("finished")
    return " · ".join([*told, *([f"finished {when}"] if when else [])]) or "how it was made is not noted"


def _told(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_told(one)}" for key, one in value.items() if one is not None)
    return ", ".join(map(_told, value)) if isinstance(value, list) else str(value)


def status(row: dict[str, Any]) -> str:
    """`ok`, or why not."""
    return str(row.get("reason") or row.get("status") or "")


def _alone(step: Step, row: dict[str, Any]) -> Iterator[RenderableType]:
    files = step.settings.get("files") or []
    if "source" in row and row["source"] < len(files):
        yield f"from row {row['row'] + 1:,} of {plain(files[row['source']]['path'])}"
    if row.get("output_tokens"):
        yield f"{row.get('prompt_tokens', 0):,} tokens in, {row['output_tokens']:,} out"
    if row.get("rule"):
        yield f"by {plain(_told(row['rule']))}"
    for name in (*_TEXTS.get(step.step, ()), "detail"):
        if name == "messages":
            yield from (labelled(m["role"], m["content"]) for m in row.get(name, ()))
        elif name == "examples":
            yield from (labelled(f"score {score}", text) for score, text in enumerate(row.get(name, ()), 1))
        elif name in row:
            yield labelled(name, row[name])


def labelled(label: str, text: Any) -> Text:
    """A text with its name before it."""
    whole = f"{text:.2f}" if isinstance(text, float) else str(text)
    left = f" … ({len(whole) - MAX_TEXT:,} more characters)" if len(whole) > MAX_TEXT else ""
    return Text.assemble((f"{plain(label)}: ", "bold"), plain(whole[:MAX_TEXT]), left)


def _grid(step: Step, subject: str) -> Grid:
    names = [
        name
        for name in _COLUMNS[step.step]
        if name in ("status", "messages", "rule") or any(row.get(name) not in (None, subject) for row in step.rows)
    ]
    return grid([_NAMES.get(name, name) for name in names], [[_cell(name, row) for name in names] for row in step.rows])


def grid(names: Sequence[str], rows: Sequence[Sequence[str]]) -> Grid:
    """A table whose ids are whole and whose last column takes the place that is left."""
    made = Grid(box=None, padding=(0, 2, 0, 0), header_style="bold", pad_edge=False)
    for number, name in enumerate(names[:-1]):
        widest = max(cell_len(cell) for cell in (name, *(row[number] for row in rows)))
        made.add_column(name, no_wrap=True, overflow="ellipsis", min_width=min(widest, MAX_CELL))
    made.add_column(names[-1], no_wrap=True, overflow="ellipsis", ratio=1)
    for row in rows:
        made.add_row(*(Text(cell) for cell in row))
    return made


def _cell(name: str, row: dict[str, Any]) -> str:
    if name == "status":
        return plain(status(row))
    if name == "messages":
        return line(row["messages"][-1]["content"] if row.get("messages") else row.get("detail", ""))
    if name == "rule":
        return line(_told(row.get("rule") or {}))
    if name in ("answer", "reasoning"):
        return line(row.get(name) or row.get("detail", ""))
    return line(row.get(name, ""))


def line(text: Any) -> str:
    """The beginning of a text on one line."""
    return plain(" ".join(str(text)[:MAX_TEXT].split()))

"""The first rows of a source, read as a run reads them: which of them it can use, and how many rows there are."""

import itertools
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from rich.table import Table as Grid

from factory.cli import printable
from factory.config import RunConfig
from factory.errors import UnreachableError
from factory.records import Instruction, Persona, Reject
from factory.runtime.progress import Progress
from factory.synthesis.ingest import Intake, read_row
from factory.synthesis.input_files import read_rows, reported_rows
from factory.synthesis.input_formats import RawRow
from factory.synthesis.opening import SourceFile
from factory.synthesis.steps import (
    check_some,
    instruction_files,
    instruction_intake,
    instructions_table,
    persona_files,
    persona_intake,
)

READ = 10_000
"""How many rows are read as a run does; most sources that are tried by hand are no larger."""
COUNTED = 100_000
FILES = 200
"""The most rows and files that are counted, at a request each; the rest is estimated from the files' sizes."""
DETAIL_CHARS = 100


@dataclass(frozen=True)
class Preview:
    """What the first rows of a source say of all of it."""

    rows: int
    """Of the source, or the limit."""
    exact: bool
    """Whether the rows were counted."""
    files: int = 0
    read: int = 0
    """Rows that were read as a run does."""
    accepted: int = 0
    rejected: dict[str, int] = field(default_factory=dict)
    examples: dict[str, str] = field(default_factory=dict)
    """Of each reason, the place and detail of the first row."""
    characters: float = 0.0
    """An accepted row, on average."""
    turns: float = 1.0
    """User turns an accepted row, on average."""

    @property
    def whole(self) -> bool:
        """Whether all rows that a run would read were read."""
        return self.exact and self.read == self.rows

    @property
    def usable(self) -> int:
        """Rows that a run would accept, if all are as those that were read."""
        return round(self.rows * self.accepted / self.read) if self.read else self.rows


def preview_personas(config: RunConfig, notes: list[str]) -> Preview | None:
    """Read the first personas; what could not be reached is added to the notes.

    Raises:
        InputError: there are no others, and none can be used.
    """
    limit = config.personas.limit
    try:
        files = persona_files(config)
    except UnreachableError as problem:
        notes.append(str(problem))
        return Preview(limit, False, characters=120) if limit else None
    return _preview(persona_intake(config), files, limit, "personas.source")


def preview_instructions(config: RunConfig, index: int, notes: list[str]) -> tuple[Preview | None, str]:
    """Read the first instructions of a corpus, and return its format too; what was not reached is added to the notes.

    Raises:
        InputError: there are no others, and none can be used.
    """
    corpus = config.instructions[index]
    try:
        files, form = instruction_files(config, corpus)
    except UnreachableError as problem:
        notes.append(str(problem))
        return (Preview(corpus.limit, False, characters=300) if corpus.limit else None), "unknown"
    return _preview(instruction_intake(corpus, form), files, corpus.limit, f"instructions ({corpus.corpus})"), form


def _preview(intake: Intake, files: Sequence[SourceFile], limit: int | None, source: str) -> Preview:
    rows = itertools.islice(_rows(intake, files[:FILES]), limit)
    rejected: Counter[str] = Counter()
    examples: dict[str, str] = {}
    ids: set[str] = set()
    ends: dict[int, int] = {}
    characters = turns = size = 0
    for number, raw in itertools.islice(rows, READ):
        ends[number] = ends.get(number, 0) + 1
        size += len(str(raw.value))
        made = read_row(intake, number, raw)
        if not isinstance(made, Reject) and getattr(made, intake.id_column) in ids:
            made = Reject("duplicate", "as one before")
        if isinstance(made, Reject):
            rejected[made.reason] += 1
            place = f"{os.path.basename(files[number].path)}, row {raw.row + 1}"
            examples.setdefault(made.reason, f"{place}: {made.detail[:DETAIL_CHARS]}")
        else:
            ids.add(getattr(made, intake.id_column))
            characters += _characters(made)
            turns += _turns(made)
    read = sum(ends.values())
    total, exact = _count(files, limit, ends, size, rows)
    if exact and read == total:
        check_some(len(ids), read, dict(rejected), source)
    good = max(len(ids), 1)
    averages = (characters / good, turns / good if ids else 1.0)
    return Preview(total, exact, len(files), read, len(ids), dict(rejected), examples, *averages)


def _rows(intake: Intake, files: Sequence[SourceFile]) -> Iterator[tuple[int, RawRow]]:
    for number, file in enumerate(files):
        for raw in read_rows(file, intake.columns):
            yield number, raw


def _characters(made: Persona | Instruction) -> int:
    return len(made.persona) if isinstance(made, Persona) else sum(len(said.content) for said in made.messages)


def _turns(made: Persona | Instruction) -> int:
    return 1 if isinstance(made, Persona) else sum(said.role == "user" for said in made.messages)


def _count(
    files: Sequence[SourceFile], limit: int | None, found: dict[int, int], size: int, rest: Iterator[tuple[int, RawRow]]
) -> tuple[int, bool]:
    """Return how many rows there are, and whether they were counted and not worked out of the files' sizes.

    Args:
        files: all of them.
        limit: of the rows.
        found: rows found so far in files, by their numbers.
        size: of the values in these rows, as text.
        rest: the rows after these.
    """
    read = sum(found.values())
    for number, _ in itertools.islice(rest, COUNTED - read):
        found[number] = found.get(number, 0) + 1
    counted = sum(found.values())
    if limit == counted or (counted < COUNTED and len(files) <= FILES):
        return counted, True
    last = max(found, default=0)
    whole = files[:FILES] if counted < COUNTED else files[:last]
    if whole:
        a_row = sum(file.size for file in whole) / max(sum(found.get(number, 0) for number in range(len(whole))), 1)
    else:
        reported = reported_rows(files[last])
        a_row = files[last].size / reported if reported else size / read
    guess = round(sum(file.size for file in files) / max(1.0, a_row))
    return max(min(guess, limit or guess), counted), False


def show_previews(
    config: RunConfig, personas: Preview | None, corpora: Sequence[tuple[Preview | None, str]], progress: Progress
) -> None:
    """Print how many rows of each source can be used, and why others cannot."""
    grid = Grid(title="Input", title_justify="left", box=None, padding=(0, 2, 0, 0))
    for column in ("source", "format", "files", "rows", "read here", "accepted", "rejected"):
        grid.add_column(column, justify="left" if column in ("source", "format") else "right")
    sources = [("personas", "", personas)]
    names = [instructions_table(corpus.corpus) for corpus in config.instructions]
    sources += [(name, form, preview) for name, (preview, form) in zip(names, corpora, strict=True)]
    for name, form, preview in sources:
        grid.add_row(name, form, *(_cells(preview) if preview else ["unknown"] * 5))
    progress.show(grid)
    lines = [
        f"  {name}: {reason} {preview.rejected[reason]:,}, such as {example}"
        for name, _, preview in sources
        if preview
        for reason, example in preview.examples.items()
    ]
    if lines:
        progress.say("Rejected, by reason (a run keeps each row with its raw text):")
    for line in lines:
        progress.say(printable(line))


def _cells(preview: Preview) -> list[str]:
    if not preview.read:
        return ["unknown", f"about {preview.rows:,}", "none", "unknown", "unknown"]
    rows = f"{preview.rows:,}" if preview.exact else f"about {preview.rows:,}"
    counts = (preview.read, preview.accepted, sum(preview.rejected.values()))
    return [f"{preview.files:,}", rows, *(f"{count:,}" for count in counts)]

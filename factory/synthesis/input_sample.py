"""Previews of a source: how many rows it has, and which of the first ones a run accepts."""

import itertools
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import pyarrow as pa
from rich.table import Table as Grid

from factory.cli import printable
from factory.config import RunConfig
from factory.errors import InputError, UnreachableError
from factory.records import Instruction, Persona, Profile, Reject
from factory.run_output import layout
from factory.runtime.progress import Progress
from factory.synthesis.given.given_steps import given_files, given_kind
from factory.synthesis.ingest import InputKind, read_row
from factory.synthesis.input_files import reported_rows
from factory.synthesis.input_formats import RawRow
from factory.synthesis.opening import SourceFile
from factory.synthesis.quotas import OVER_QUOTA, count_within
from factory.synthesis.steps import (
    check_not_empty,
    instruction_files,
    instruction_kind,
    persona_files,
    persona_kind,
)

READ_ROWS = 10_000
"""The most rows that are read as a run reads them; most sources of a first try are no larger."""
COUNTED_ROWS = 100_000
COUNTED_FILES = 200
"""The most rows and files that are counted, with a request per file; others are estimated from the file sizes."""
DETAIL_CHARS = 100


@dataclass(frozen=True)
class Preview:
    """Statistics of a source, from its first rows."""

    rows: int
    """Rows of the source, or the limit."""
    exact: bool
    """Whether the rows were counted."""
    files: int = 0
    read: int = 0
    """Rows that were read as a run reads them."""
    accepted: int = 0
    rejected: dict[str, int] = field(default_factory=dict)
    examples: dict[str, str] = field(default_factory=dict)
    """For each reason, the position and detail of the first row."""
    characters: float = 0.0
    """Average per accepted row."""
    turns: float = 1.0
    """Average user turns per accepted row."""

    @property
    def whole(self) -> bool:
        """Whether the preview read all rows that a run reads."""
        return self.exact and self.read == self.rows

    @property
    def usable(self) -> int:
        """Rows that a run would accept, extrapolated from the rows that were read."""
        return round(self.rows * self.accepted / self.read) if self.read else self.rows


def preview_personas(config: RunConfig, notes: list[str]) -> Preview | None:
    """Preview the personas; unreachable storage is added to the notes.

    Raises:
        InputError: all rows were read, and none can be used.
    """
    limit = config.personas.limit
    files = _files_or_note(persona_files, config, notes)
    if files is None:
        return Preview(limit, False, characters=120) if limit else None
    return _preview(persona_kind(config), files, limit, "personas.source")


def preview_given(config: RunConfig, notes: list[str]) -> Preview | None:
    """Preview the given profiles; unreachable storage is added to the notes.

    Raises:
        InputError: all rows were read, and none can be used.
    """
    limit = config.profiles.limit
    files = _files_or_note(given_files, config, notes)
    if files is None:
        return Preview(limit, False) if limit else None
    return _preview(given_kind(config), files, limit, "profiles.source")


def _files_or_note(
    find: Callable[[RunConfig], list[SourceFile]], config: RunConfig, notes: list[str]
) -> list[SourceFile] | None:
    """Return the files of a source; where its storage is unreachable, add a note and return None."""
    try:
        return find(config)
    except UnreachableError as problem:
        notes.append(str(problem))
        return None


def preview_instructions(config: RunConfig, index: int, notes: list[str]) -> tuple[Preview | None, str]:
    """Preview the instructions of a corpus and return its format; unreachable storage is added to the notes.

    Raises:
        InputError: all rows were read, and none can be used.
    """
    corpus = config.instructions[index]
    try:
        files, form = instruction_files(config, corpus)
    except UnreachableError as problem:
        notes.append(str(problem))
        return (Preview(corpus.limit, False, characters=300) if corpus.limit else None), "unknown"
    return _preview(instruction_kind(corpus, form), files, corpus.limit, f"instructions ({corpus.corpus})"), form


def _preview(kind: InputKind, files: Sequence[SourceFile], limit: int | None, source: str) -> Preview:
    rows = itertools.islice(_rows(kind, files[:COUNTED_FILES]), limit)
    rejected: Counter[str] = Counter()
    examples: dict[str, str] = {}
    ids: set[str] = set()
    strata: dict[str, str | None] = {}
    ends: dict[int, int] = {}
    characters = turns = size = 0
    for number, raw in itertools.islice(rows, READ_ROWS):
        ends[number] = ends.get(number, 0) + 1
        size += len(str(raw.value))
        record = read_row(kind, number, raw)
        if not isinstance(record, Reject) and getattr(record, kind.id_column) in ids:
            record = Reject("duplicate", "same as an earlier row")
        if isinstance(record, Reject):
            rejected[record.reason] += 1
            position = f"{os.path.basename(files[number].path)}, row {raw.row + 1}"
            examples.setdefault(record.reason, f"{position}: {record.detail[:DETAIL_CHARS]}")
        else:
            ids.add(getattr(record, kind.id_column))
            if kind.quotas:
                strata[record.character_id] = record.strata
            characters += _characters(record)
            turns += _turns(record)
    read = sum(ends.values())
    total, exact = _count(files, limit, ends, size, rows)
    if exact and read == total:
        check_not_empty(len(ids), read, dict(rejected), source)
    accepted = max(len(ids), 1)
    averages = (characters / accepted, turns / accepted if ids else 1.0)
    within = _within_quotas(kind, strata, exact and read == total) if kind.quotas else len(ids)
    if within < len(ids):
        rejected[OVER_QUOTA] += len(ids) - within
        examples.setdefault(OVER_QUOTA, "chosen by a hash of the ids")
    return Preview(total, exact, len(files), read, within, dict(rejected), examples, *averages)


def _within_quotas(kind: InputKind, strata: Mapping[str, str | None], whole: bool) -> int:
    """Return how many accepted rows are within their quotas; all where the first rows cannot tell.

    Raises:
        InputError: all rows were read, and a combination of values has none.
    """
    try:
        return count_within(pa.table({"character_id": [*strata], "strata": [*strata.values()]}), kind.quotas)
    except InputError:
        if whole:
            raise
        return len(strata)  # a rare value may come later


def _rows(kind: InputKind, files: Sequence[SourceFile]) -> Iterator[tuple[int, RawRow]]:
    for number, file in enumerate(files):
        for raw in kind.read_file(file, kind.columns):
            yield number, raw


def _characters(record: Persona | Profile | Instruction) -> int:
    return sum(len(m.content) for m in record.messages) if isinstance(record, Instruction) else len(record.persona)


def _turns(record: Persona | Profile | Instruction) -> int:
    return sum(m.role == "user" for m in record.messages) if isinstance(record, Instruction) else 1


def _count(
    files: Sequence[SourceFile], limit: int | None, found: dict[int, int], size: int, rest: Iterator[tuple[int, RawRow]]
) -> tuple[int, bool]:
    """Return the number of rows, and whether they were counted or estimated from the file sizes.

    Args:
        files: all files.
        limit: the limit of rows.
        found: rows found so far, by the number of their file.
        size: size of the values in these rows, as text.
        rest: the following rows.
    """
    read = sum(found.values())
    for number, _ in itertools.islice(rest, COUNTED_ROWS - read):
        found[number] = found.get(number, 0) + 1
    counted = sum(found.values())
    if limit == counted or (counted < COUNTED_ROWS and len(files) <= COUNTED_FILES):
        return counted, True
    last = max(found, default=0)
    whole = files[:COUNTED_FILES] if counted < COUNTED_ROWS else files[:last]
    if whole:
        row_size = sum(file.size for file in whole) / max(sum(found.get(number, 0) for number in range(len(whole))), 1)
    else:
        reported = reported_rows(files[last])
        row_size = files[last].size / reported if reported else size / read
    estimate = round(sum(file.size for file in files) / max(1.0, row_size))
    return max(min(estimate, limit or estimate), counted), False


def show_previews(
    config: RunConfig,
    personas: Preview | None,
    given: Preview | None,
    corpora: Sequence[tuple[Preview | None, str]],
    progress: Progress,
) -> None:
    """Print how many rows of each source are accepted, and why others are rejected."""
    grid = Grid(title="Input", title_justify="left", box=None, padding=(0, 2, 0, 0))
    for column in ("source", "format", "files", "rows", "read here", "accepted", "rejected"):
        grid.add_column(column, justify="left" if column in ("source", "format") else "right")
    sources = [(layout.PERSONAS.name(), "", personas)] if config.has_personas else []
    sources += [(layout.GIVEN_PROFILES.name(), "", given)] if config.profiles.source else []
    names = [layout.INSTRUCTIONS.name(corpus=corpus.corpus) for corpus in config.instructions]
    sources += [(name, form, preview) for name, (preview, form) in zip(names, corpora, strict=True)]
    for name, form, preview in sources:
        grid.add_row(name, form, *(_cells(preview) if preview else ["unknown"] * 5))
    progress.show(grid)
    lines = [
        f"  {name}: {reason} {preview.rejected[reason]:,}, for example {example}"
        for name, _, preview in sources
        if preview
        for reason, example in preview.examples.items()
    ]
    if lines:
        progress.print("Rejected, by reason (a run keeps each row with its raw text):")
    for line in lines:
        progress.print(printable(line))


def _cells(preview: Preview) -> list[str]:
    if not preview.read:
        return ["unknown", f"about {preview.rows:,}", "none", "unknown", "unknown"]
    rows = f"{preview.rows:,}" if preview.exact else f"about {preview.rows:,}"
    counts = (preview.read, preview.accepted, sum(preview.rejected.values()))
    return [f"{preview.files:,}", rows, *(f"{count:,}" for count in counts)]

"""The contents of a run's folder: its tables, finished or not, and the documents beside them.

No file can stop the report: what cannot be read is listed in `RunFolder.problems`.
"""

import io
import json
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from factory.errors import InputError, StorageError
from factory.run_output.layout import (
    BENCHMARK_PERSONAS,
    BENCHMARK_QUESTIONS,
    GENERAL_ITEMS,
    KINDS,
    TableKind,
    is_from_training_data,
    kind_of,
)
from factory.run_output.table_files import group_by_table, list_sizes
from factory.storage import file_io
from factory.storage.schemas import EXAMPLES, lacking_columns
from factory.storage.tables import MANIFEST, SUFFIX, Table

HIDDEN_KINDS = (BENCHMARK_PERSONAS, BENCHMARK_QUESTIONS, GENERAL_ITEMS)
REPORTED_KINDS = tuple(kind for kind in KINDS if kind not in HIDDEN_KINDS)
"""The kinds of tables that the report shows, in the order in which the data flows."""
READERS = 4
"""Files read at the same time: on S3 each is a round trip."""
BATCH_ROWS = 1024
NUMBERS = ("score", "voice_score", "facts_score", "answers_score", "draw", "prompt_tokens", "output_tokens")
FLAGS = ("has_room",)
LISTS = ("messages", "thoughts")
"""The columns that do not hold text."""
THOUGHTS = EXAMPLES.field("thoughts")
"""The column that tables of earlier versions lack."""
REQUIRED = ("rows_in", "ok")
"""The integers that every manifest has."""


@dataclass(frozen=True)
class RunTable:
    """A table of the run."""

    table: Table
    manifest: Mapping[str, Any]
    """Empty for a table that is not finished."""
    shards: tuple[str, ...]
    """The names of all its files without suffix, those of rejected input too."""

    @property
    def name(self) -> str:
        """The name of the table in the run's folder."""
        return self.table.name

    @property
    def finished(self) -> bool:
        """Whether the table has a manifest."""
        return bool(self.manifest)

    @property
    def rejected(self) -> dict[str, int]:
        """The number of rejected rows by reason, by the manifest."""
        rejected = self.manifest.get("rejected")
        return {str(reason): whole(rows) for reason, rows in rejected.items()} if isinstance(rejected, dict) else {}


@dataclass
class RunFolder:
    """A run's folder, with the tables of the run whose data it trains on."""

    output: str
    tables: dict[str, RunTable] = field(default_factory=dict)
    """By name, in the order of `REPORTED_KINDS`."""
    files: dict[str, int] = field(default_factory=dict)
    """The size in bytes of all files of the run's own output, by name."""
    problems: list[str] = field(default_factory=list)
    """What could not be read, a line each."""

    def select(self, *kinds: TableKind) -> list[RunTable]:
        """Return the tables of some kinds."""
        return [table for name, table in self.tables.items() if kind_of(name) in kinds]

    def document(self, name: str) -> dict[str, Any]:
        """Return a JSON document, or an empty one if it is missing or cannot be read."""
        return (_read_document(self.output, name, self.problems) if name in self.files else None) or {}

    def lines(self, name: str) -> Iterator[dict[str, Any]]:
        """Yield the objects of a JSONL file; other lines are counted and noted."""
        fs, path = file_io.filesystem(file_io.join(self.output, name))
        bad = 0
        with file_io.storage_errors(path), fs.open(path, "rb") as file:
            for line in file:
                row = _parse_object(line)
                bad += row is None
                if row is not None:
                    yield row
        if bad:
            self.problems.append(f"{name}: {bad:,} lines are not JSON objects and are left out")

    def read(
        self, table: RunTable, columns: Sequence[str], rows: Mapping[str, Sequence[int]] | None = None
    ) -> Iterator[tuple[str, pa.Table]]:
        """Yield the rows of a table file by file, each with the file's name.

        Args:
            table: the table.
            columns: the columns to read.
            rows: the numbers of the rows to read from each file, ascending; None for all rows of all files.
        """
        names = table.shards if rows is None else [name for name in table.shards if name in rows]

        def read(name: str) -> tuple[str, pa.Table | str]:
            path = file_io.join(table.table.path, name + SUFFIX)
            return name, _read_rows(path, columns, None if rows is None else rows[name])

        for name, content in _read_ahead(read, names):
            if isinstance(content, str):
                self.note(f"{table.name}/{name}{SUFFIX}: {content}; its rows are not shown")
            else:
                yield name, content

    def note(self, problem: str) -> None:
        """Add a problem, once."""
        if problem not in self.problems:
            self.problems.append(problem)


def open_folder(output: str, command: str, data: str | None = None) -> RunFolder:
    """Find what a run wrote, by one listing of each output.

    Args:
        output: the run's folder, local or s3://.
        command: the command that builds the first of its tables.
        data: the output of the run whose data it trains on, if that is another one.

    Raises:
        InputError: there is no table of a run.
        StorageError: the folder cannot be read.
    """
    files = list_sizes(output)
    folder = RunFolder(output, files=files)
    found = _find_tables(folder, output, files)
    if data:
        others = _find_tables(folder, data, list_sizes(data))
        from_data = {name: table for name, table in others.items() if is_from_training_data(name)}
        if not from_data:
            folder.note(f"training.data {data}: has no tables of a run to train on")
        found |= from_data
    folder.tables = {name: found[name] for name in sorted(found, key=_order)}
    if not folder.tables:
        empty = f"output {output}: has no tables of a run yet" + (f", nor has training.data {data}" if data else "")
        raise InputError(f"{empty}; `{command}` builds the first ones")
    return folder


def _find_tables(folder: RunFolder, output: str, sizes: Mapping[str, int]) -> dict[str, RunTable]:
    tables = {name: files for name, files in group_by_table(sizes).items() if kind_of(name) in REPORTED_KINDS}
    return {name: _open_table(folder, output, name, files) for name, files in tables.items()}


def _open_table(folder: RunFolder, output: str, name: str, files: Mapping[str, int]) -> RunTable:
    shards = tuple(sorted(file.removesuffix(SUFFIX) for file in files if file.endswith(SUFFIX)))
    path = f"{name}/{MANIFEST}"
    manifest = _read_document(output, path, folder.problems) if MANIFEST in files else None
    if manifest is not None and not all(isinstance(manifest.get(key), int) for key in REQUIRED):
        folder.note(f"{path}: has no {' and '.join(REQUIRED)}, so the table counts as unfinished")
        manifest = None
    return RunTable(Table(output, name), manifest or {}, shards)


def _order(name: str) -> tuple[int, str]:
    return next(number for number, kind in enumerate(REPORTED_KINDS) if kind.parts(name) is not None), name


def _read_document(output: str, name: str, problems: list[str]) -> dict[str, Any] | None:
    data = file_io.read_if_there(file_io.join(output, name))
    document = None if data is None else _parse_object(data)
    if data is not None and document is None:
        problems.append(f"{name}: is not a JSON object")
    return document


def _parse_object(data: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def whole(value: Any) -> int:
    """Return a count from a document that anyone may have written; 0 if it is not a number."""
    return int(value) if isinstance(value, (int, float)) and abs(value) < 1e18 else 0


def _read_ahead(read: Any, names: Sequence[str]) -> Iterator[tuple[str, pa.Table | str]]:
    """Read a few files ahead, in order; no more, so that memory does not grow with their number."""
    waiting: deque[Future[tuple[str, pa.Table | str]]] = deque()
    with ThreadPoolExecutor(READERS) as pool:
        for name in names:
            waiting.append(pool.submit(read, name))
            if len(waiting) > READERS:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _read_rows(path: str, columns: Sequence[str], rows: Sequence[int] | None) -> pa.Table | str:
    """Return some columns of a file, of some rows or all, or a text that explains why they cannot be read."""
    try:
        if "://" in path:
            file = pq.ParquetFile(io.BytesIO(file_io.read_bytes(path)))
        else:
            file = pq.ParquetFile(path, memory_map=True)
        names = file.schema_arrow.names
        lacking = lacking_columns(columns, names)
        lacking += [THOUGHTS] if THOUGHTS.name in columns and THOUGHTS.name not in names else []
        written = [name for name in columns if name not in {one.name for one in lacking}]
        problem = next(filter(None, (_check_column(file.schema_arrow, name) for name in written)), None)
        if problem:
            return problem
        table = file.read(written) if rows is None else _take_rows(file, written, rows)
        table = table.cast(pa.schema([_normalize_type(column) for column in table.schema]))
        table.validate(full=True)  # texts are UTF-8
        for column in lacking:
            table = table.append_column(column, pa.nulls(table.num_rows, column.type))
    except (pa.ArrowException, OSError, StorageError) as error:
        return f"cannot be read ({' '.join(str(error).split())[:200]})"
    return table


def _check_column(schema: pa.Schema, name: str) -> str | None:
    """Return what is wrong with a column, or None."""
    if name not in schema.names:
        return f"has no column {name!r}"
    kind = _normalize_type(schema.field(name)).type
    checks = {pa.types.is_list: LISTS, pa.types.is_integer: NUMBERS, pa.types.is_boolean: FLAGS}
    right = next((check for check, names in checks.items() if name in names), pa.types.is_string)
    return None if right(kind) or pa.types.is_null(kind) else f"has {kind} in its column {name!r}"


def _normalize_type(column: pa.Field) -> pa.Field:
    """Return a column's type as the factory writes it: other writers have more types of text, and of null."""
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if pa.types.is_null(kind) and column.name not in LISTS:
        kind = pa.int32() if column.name in NUMBERS else pa.bool_() if column.name in FLAGS else pa.string()
    return pa.field(column.name, pa.string() if pa.types.is_large_string(kind) else kind)


def _take_rows(file: pq.ParquetFile, columns: Sequence[str], rows: Sequence[int]) -> pa.Table:
    taken, start = [file.schema_arrow.empty_table().select(list(columns))], 0
    for batch in file.iter_batches(BATCH_ROWS, columns=list(columns)):
        in_batch = [row - start for row in rows if start <= row < start + batch.num_rows]
        if in_batch:
            taken.append(pa.Table.from_batches([batch]).select(list(columns)).take(in_batch))
        start += batch.num_rows
    return pa.concat_tables(taken)

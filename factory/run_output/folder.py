"""What lies in a run's folder: its tables, finished or not, and the documents beside them.

Nothing in a folder can stop the report: what cannot be read is noted in `Folder.problems`.
"""

import io
import json
import re
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
    is_from_training_data,
    kind_of,
)
from factory.storage import file_io
from factory.storage.tables import INPUTS, MANIFEST, SUFFIX, Table

UNSHOWN = (BENCHMARK_PERSONAS, BENCHMARK_QUESTIONS, GENERAL_ITEMS)
TABLES = tuple(kind for kind in KINDS if kind not in UNSHOWN)
"""The kinds of tables that the report shows, in the order in which the data flows."""
READERS = 4
"""Files that are read at a time: on S3 each is a round trip."""
BATCH_ROWS = 1024
NUMBERS = ("score", "prompt_tokens", "output_tokens")
LISTS = ("messages",)
"""The columns that hold no text."""
NEEDED = ("rows_in", "ok")
"""What makes a document a manifest."""


@dataclass(frozen=True)
class Found:
    """A table of the run."""

    table: Table
    manifest: Mapping[str, Any]
    """Empty where the table is not finished."""
    shards: tuple[str, ...]
    """All of its files, those of rejected input too."""

    @property
    def name(self) -> str:
        """Its place in the run's folder."""
        return self.table.name

    @property
    def finished(self) -> bool:
        """Whether it says of itself that it is whole."""
        return bool(self.manifest)

    @property
    def rejected(self) -> dict[str, int]:
        """Rejected rows by reason, as the manifest tells them."""
        told = self.manifest.get("rejected")
        return {str(reason): whole(rows) for reason, rows in told.items()} if isinstance(told, dict) else {}


@dataclass
class Folder:
    """A run's folder, with the tables of another that it trains on."""

    output: str
    tables: dict[str, Found] = field(default_factory=dict)
    """By name, in the order of `TABLES`."""
    files: dict[str, int] = field(default_factory=dict)
    """Bytes of all files of the run's own output, by name."""
    problems: list[str] = field(default_factory=list)
    """What could not be read, a line each."""

    def like(self, pattern: str) -> list[Found]:
        """The tables whose names match a regular expression."""
        return [one for name, one in self.tables.items() if re.fullmatch(pattern, name)]

    def document(self, name: str) -> dict[str, Any]:
        """A JSON document; empty where there is none, or none that can be read."""
        found = _document(self.output, name, self.problems) if name in self.files else None
        return found or {}

    def lines(self, name: str) -> Iterator[dict[str, Any]]:
        """The objects of a JSONL file, one after the other; lines that hold none are counted and noted."""
        fs, path = file_io.filesystem(file_io.join(self.output, name))
        bad = 0
        with file_io.storage_errors(path), fs.open(path, "rb") as file:
            for line in file:
                row = _parsed(line)
                bad += row is None
                if row is not None:
                    yield row
        if bad:
            self.problems.append(f"{name}: {bad:,} lines are no JSON objects and are left out")

    def read(
        self, found: Found, columns: Sequence[str], places: Mapping[str, Sequence[int]] | None = None
    ) -> Iterator[tuple[str, pa.Table]]:
        """The rows of a table, file by file, some of them at a time.

        Args:
            found: the table.
            columns: which of its columns.
            places: the rows that are wanted of each file, in rising order; None is all of all.
        """
        names = found.shards if places is None else [name for name in found.shards if name in places]

        def read(name: str) -> tuple[str, pa.Table | str]:
            path = file_io.join(found.table.path, name + SUFFIX)
            return name, _rows(path, columns, None if places is None else places[name])

        for name, rows in _ahead(read, names):
            if isinstance(rows, str):
                self.note(f"{found.name}/{name}{SUFFIX}: {rows}; its rows are not shown")
            else:
                yield name, rows

    def note(self, problem: str) -> None:
        """Keep what could not be read, once."""
        if problem not in self.problems:
            self.problems.append(problem)


def open_folder(output: str, command: str, data: str | None = None) -> Folder:
    """Find what a run left, by one listing of each output.

    Args:
        output: the run's folder, local or s3://.
        command: what makes the first of its tables.
        data: the output of the run that it trains on, if that is another one.

    Raises:
        InputError: there is nothing of a run.
        StorageError: the folder cannot be read.
    """
    files = _listed(output)
    folder = Folder(output, files=files)
    found = {name: _found(folder, output, name, files) for name in _names(files)}
    if data:
        others = {path: size for path, size in _listed(data).items() if is_from_training_data(path)}
        there = {name: _found(folder, data, name, others) for name in _names(others)}
        if not there:
            folder.note(f"training.data {data}: holds nothing of a run to train on")
        found |= there
    folder.tables = {name: found[name] for name in sorted(found, key=_order)}
    if not folder.tables:
        none = f"output {output}: holds nothing of a run yet" + (f", nor does training.data {data}" if data else "")
        raise InputError(f"{none}; {command} makes its first tables")
    return folder


def _listed(output: str) -> dict[str, int]:
    return file_io.sizes(output) if file_io.exists(output) else {}


def _found(folder: Folder, output: str, name: str, sizes: Mapping[str, int]) -> Found:
    mine = [path.removeprefix(f"{name}/") for path in sizes if path.startswith(f"{name}/")]
    shards = tuple(sorted(one.removesuffix(SUFFIX) for one in mine if one.endswith(SUFFIX) and "/" not in one))
    manifest = _document(output, f"{name}/{MANIFEST}", folder.problems) if MANIFEST in mine else None
    if manifest is not None and not all(isinstance(manifest.get(key), int) for key in NEEDED):
        folder.note(f"{name}/{MANIFEST}: has no {' and '.join(NEEDED)}, so the table counts as unfinished")
        manifest = None
    return Found(Table(output, name), manifest or {}, shards)


def _order(name: str) -> tuple[int, str]:
    return next(place for place, kind in enumerate(TABLES) if kind.parts(name) is not None), name


def _names(sizes: Mapping[str, int]) -> set[str]:
    folders = (path.rpartition("/") for path in sizes)
    holds = (MANIFEST, INPUTS)
    names = {folder for folder, _, file in folders if file in holds or file.endswith(SUFFIX)}
    return {name for name in names if kind_of(name) in TABLES}


def _document(output: str, name: str, problems: list[str]) -> dict[str, Any] | None:
    data = file_io.read_if_there(file_io.join(output, name))
    found = None if data is None else _parsed(data)
    if data is not None and found is None:
        problems.append(f"{name}: is no JSON object")
    return found


def _parsed(data: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def whole(value: Any) -> int:
    """A count out of a document that anybody may have written; 0 where it is none."""
    return int(value) if isinstance(value, (int, float)) and abs(value) < 1e18 else 0


def _ahead(read: Any, names: Sequence[str]) -> Iterator[tuple[str, pa.Table | str]]:
    """Read some files ahead, in order, and no more than that: memory must not grow with their number."""
    waiting: deque[Future[tuple[str, pa.Table | str]]] = deque()
    with ThreadPoolExecutor(READERS) as pool:
        for name in names:
            waiting.append(pool.submit(read, name))
            if len(waiting) > READERS:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _rows(path: str, columns: Sequence[str], places: Sequence[int] | None) -> pa.Table | str:
    """Some columns of a file, of the rows at some places alone; or in words why that cannot be."""
    try:
        if "://" in path:
            file = pq.ParquetFile(io.BytesIO(file_io.read_bytes(path)))
        else:
            file = pq.ParquetFile(path, memory_map=True)
        wrong = next(filter(None, (_wrong(file.schema_arrow, name) for name in columns)), None)
        if wrong:
            return wrong
        table = file.read(list(columns)) if places is None else _taken(file, columns, places)
        table = table.cast(pa.schema([_plain(one) for one in table.schema]))
        table.validate(full=True)  # texts are UTF-8
    except (pa.ArrowException, OSError, StorageError) as problem:
        return f"cannot be read ({' '.join(str(problem).split())[:200]})"
    return table


def _wrong(schema: pa.Schema, name: str) -> str | None:
    """What is wrong with a column, if anything."""
    if name not in schema.names:
        return f"has no column {name!r}"
    kind = _plain(schema.field(name)).type
    right = pa.types.is_list if name in LISTS else pa.types.is_integer if name in NUMBERS else pa.types.is_string
    return None if right(kind) or pa.types.is_null(kind) else f"has {kind} in its column {name!r}"


def _plain(one: pa.Field) -> pa.Field:
    """A column as the factory writes it; other writers know more kinds of text, and of nothing."""
    kind = one.type.value_type if pa.types.is_dictionary(one.type) else one.type
    if pa.types.is_null(kind) and one.name not in LISTS:
        kind = pa.int32() if one.name in NUMBERS else pa.string()
    return pa.field(one.name, pa.string() if pa.types.is_large_string(kind) else kind)


def _taken(file: pq.ParquetFile, columns: Sequence[str], places: Sequence[int]) -> pa.Table:
    taken, start = [file.schema_arrow.empty_table().select(list(columns))], 0
    for batch in file.iter_batches(BATCH_ROWS, columns=list(columns)):
        mine = [place - start for place in places if start <= place < start + batch.num_rows]
        if mine:
            taken.append(pa.Table.from_batches([batch]).select(list(columns)).take(mine))
        start += batch.num_rows
    return pa.concat_tables(taken)

"""Search in the tables of a run: one listing, then Parquet as a stream of columns.

A search reads only the columns that it filters by, and then only the files with matches in full. So memory
and disk reads do not grow with the text of a run.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.fs as pafs
from fsspec.implementations.local import LocalFileSystem

from factory.config import RunConfig
from factory.errors import InputError
from factory.run_output import layout
from factory.run_output.layout import SPLITS, TableKind, is_from_training_data
from factory.run_output.table_files import group_by_table, list_sizes
from factory.storage import file_io
from factory.storage.schemas import lacking_columns
from factory.storage.tables import INPUTS, MANIFEST, SUFFIX

State = Literal["finished", "half done", "not run"]
REMOTE_THREADS = 32
"""Files of an object store read at the same time: a round trip takes longer than a column."""


@dataclass(frozen=True)
class Matches:
    """Rows that match a filter: their number, the number by reason (`ok` for accepted ones), and the first rows."""

    total: int = 0
    reasons: dict[str, int] = field(default_factory=dict)
    rows: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class TableFiles:
    """A table's folder and the sizes (bytes) of the files in it."""

    path: str
    sizes: Mapping[str, int]

    @property
    def shards(self) -> list[str]:
        """The names of its Parquet files, rejected input's included, in order."""
        return sorted(name for name in self.sizes if name.endswith(SUFFIX))

    @property
    def state(self) -> State:
        """The state of the step that builds the table."""
        if MANIFEST in self.sizes:
            return "finished"
        return "half done" if self.shards or INPUTS in self.sizes else "not run"

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """The manifest; empty for a table that is not finished."""
        return self._json(MANIFEST)

    @cached_property
    def settings(self) -> dict[str, Any]:
        """The settings and inputs of the table; empty for a table that was not started."""
        return dict(self._json(INPUTS).get("settings") or {})

    def _json(self, name: str) -> dict[str, Any]:
        if name not in self.sizes:
            return {}
        path = file_io.join(self.path, name)
        try:
            content = json.loads(file_io.read_bytes(path))
        except ValueError as problem:
            raise InputError(f"{path}: is not JSON ({problem}); run the step that builds the table again") from None
        return content if isinstance(content, dict) else {}

    def scan(
        self, columns: list[str] | None, where: ds.Expression | None = None, files: Sequence[str] | None = None
    ) -> Iterator[pa.RecordBatch]:
        """Yield some columns of the rows that match, in the order of the files.

        Args:
            columns: their names, None for all; `__filename` is the path of the row's file.
            where: the filter; by default all rows match.
            files: names of the files to read; by default all.

        Raises:
            InputError: a file is not a Parquet table.
            StorageError: a file cannot be read.
        """
        names = self.shards if files is None else list(files)
        if not names:
            return
        fs, folder = file_io.filesystem(self.path)
        with _arrow_errors(self.path):
            dataset = ds.dataset([f"{folder}/{name}" for name in names], format="parquet", filesystem=self._reader(fs))
            lacking = lacking_columns(columns or (), dataset.schema.names)
            dataset = dataset.replace_schema(pa.schema([*dataset.schema, *lacking]))
            # Shards are small: a few at a time keep two cores busy, and memory holds only these.
            yield from dataset.to_batches(
                columns=columns, filter=where, batch_size=4096, batch_readahead=4, fragment_readahead=4 * _threads(fs)
            )

    def _reader(self, fs: Any) -> pafs.FileSystem:
        if isinstance(fs, LocalFileSystem):
            return pafs.LocalFileSystem()
        pa.set_io_thread_count(REMOTE_THREADS)
        return pafs.PyFileSystem(_Ranges(fs, self.sizes))

    def find(self, where: ds.Expression, limit: int) -> Matches:
        """Count the rows that match, and read all columns of the first `limit` of them."""
        total, reasons, files = 0, Counter[str](), Counter[str]()
        for batch in self.scan(["status", "reason", "__filename"], where):
            total += batch.num_rows
            status, reason, paths = (batch[name].to_pylist() for name in ("status", "reason", "__filename"))
            reasons.update(r or s for s, r in zip(status, reason, strict=True))
            if files.total() < limit:
                files.update(path.rpartition("/")[2] for path in paths)
        rows: list[dict[str, Any]] = []
        for name in files:
            if len(rows) < limit:
                rows += self._read_file(name, where, limit - len(rows))
        return Matches(total, dict(sorted(reasons.items())), rows)

    def _read_file(self, file: str, where: ds.Expression, limit: int) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = []
        for batch in self.scan(None, where, [file]):
            rows += batch.slice(0, limit - len(rows)).to_pylist()
        return [{name: value for name, value in row.items() if value is not None} for row in rows]


def _threads(fs: Any) -> int:
    return 1 if isinstance(fs, LocalFileSystem) else REMOTE_THREADS // 4


class _Ranges(pafs.FSSpecHandler):  # type: ignore[misc]
    """Reads the ranges that Arrow requests and nothing more: s3fs reads 50 MB ahead, which is all of a shard."""

    def __init__(self, fs: Any, sizes: Mapping[str, int]) -> None:
        super().__init__(fs)
        self.sizes = sizes

    def open_input_file(self, path: str) -> pa.PythonFile:
        """Open a file; its size, known from the listing, saves a request."""
        size = self.sizes[path.rpartition("/")[2]]
        file = self.fs.open(path, "rb", cache_type="none", size=size)
        file.details = {"name": path, "size": size}
        return pa.PythonFile(file, mode="r")


@contextmanager
def _arrow_errors(path: str) -> Iterator[None]:
    try:
        with file_io.storage_errors(path):
            yield
    except pa.ArrowException as problem:
        reason = " ".join(str(problem).split())
        raise InputError(f"{path}: a file of it cannot be read ({reason}); build the table again") from None


@dataclass(frozen=True)
class RunTables:
    """The tables that exist and, in `expected`, the names of those that the config defines."""

    files: Mapping[str, TableFiles]
    expected: tuple[str, ...]

    @staticmethod
    def open(config: RunConfig) -> "RunTables":
        """List a run's output, and that of the run whose data it trains on.

        Raises:
            InputError: there is no such output.
        """
        tables = _list_tables(config.output)
        if config.training.data:
            others = _list_tables(config.training.data)
            tables |= {name: files for name, files in others.items() if is_from_training_data(name)}
        return RunTables(tables, tuple(_expected_names(config)))

    def __getitem__(self, name: str) -> TableFiles:
        return self.files.get(name) or TableFiles(name, {})

    def names(self, kind: TableKind, **parts: str) -> list[str]:
        """Return the names of the tables of a kind whose names have these parts, those of the config first."""
        every = dict.fromkeys([*self.expected, *sorted(self.files)])
        return [name for name in every if (found := kind.parts(name)) is not None and found | parts == found]


def _list_tables(output: str) -> dict[str, TableFiles]:
    sizes = list_sizes(output)
    if not sizes and not file_io.exists(output):
        raise InputError(
            f"output {output}: there is no run; build one (character-factory synthesize CONFIG), or name its folder"
        )
    return {name: TableFiles(file_io.join(output, name), files) for name, files in group_by_table(sizes).items()}


def _expected_names(config: RunConfig) -> Iterator[str]:
    if config.has_personas:
        yield layout.PERSONAS.name()
    if config.profiles.source:
        yield layout.GIVEN_PROFILES.name()
    yield layout.PROFILES.name()
    corpora = [source.corpus for source in config.instructions]
    yield from (layout.INSTRUCTIONS.name(corpus=corpus) for corpus in corpora)
    for corpus in corpora:
        yield from (layout.DIALOGUES.name(strategy=strategy, corpus=corpus) for strategy in config.dialogues.strategies)
    yield from (kind.name(split=split) for kind in (layout.CURATED, layout.PACKED) for split in SPLITS)
    yield layout.CHECKPOINTS.name()
    evaluation = config.evaluation
    if evaluation.candidates:
        yield from (layout.BENCHMARK_PERSONAS.name(), layout.BENCHMARK_QUESTIONS.name())
    if evaluation.candidates and evaluation.example_writer:  # otherwise the run itself finds out who writes them
        yield layout.SCORE_EXAMPLES.name(judge=evaluation.example_writer)
    if any(candidate.condition == "profile" for candidate in evaluation.candidates):
        yield layout.BENCHMARK_PROFILES.name()
    for candidate in evaluation.candidates:
        yield layout.ANSWERS.name(candidate=candidate.name)
    for candidate in evaluation.candidates:
        kinds = (layout.BLOCK_VERDICTS, layout.JUDGMENTS) if evaluation.parity else (layout.JUDGMENTS,)
        names = [judge.name for judge in evaluation.judges]
        yield from (kind.name(candidate=candidate.name, judge=name) for kind in kinds for name in names)

"""The tables of a run for a reader of single rows: one listing, then Parquet as a stream of columns.

A search reads the columns that it asks about alone and notes the files of what it finds; only
these few are read whole. So neither memory nor what comes off the disk follows the text of a run.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cached_property
from typing import Any, Literal

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.fs as pafs
from fsspec.implementations.local import LocalFileSystem

from factory.config import RunConfig
from factory.errors import InputError
from factory.run_output.layout import is_from_training_data
from factory.storage import file_io
from factory.storage.archive import is_outside_tables
from factory.storage.tables import INPUTS, MANIFEST, SUFFIX

State = Literal["finished", "half done", "not run"]
REMOTE_THREADS = 32
"""Files of an object store that are read at a time: a round trip takes longer than a column."""


@dataclass(frozen=True)
class Found:
    """Rows that fit: how many there are, how many by reason (`ok` for accepted ones), and the first of them."""

    total: int = 0
    reasons: dict[str, int] = field(default_factory=dict)
    rows: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class Place:
    """A table's folder and the sizes (bytes) of the files in it."""

    path: str
    sizes: Mapping[str, int]

    @property
    def shards(self) -> list[str]:
        """The names of its Parquet files, rejected input's included, in order."""
        return sorted(name for name in self.sizes if name.endswith(SUFFIX))

    @property
    def state(self) -> State:
        """How far the step is that makes it."""
        if MANIFEST in self.sizes:
            return "finished"
        return "half done" if self.shards or INPUTS in self.sizes else "not run"

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """What the finished table says of itself; empty where it is not finished."""
        return self._json(MANIFEST)

    @cached_property
    def settings(self) -> dict[str, Any]:
        """The settings and inputs that its rows are made of; empty where it was never begun."""
        return dict(self._json(INPUTS).get("settings") or {})

    def _json(self, name: str) -> dict[str, Any]:
        if name not in self.sizes:
            return {}
        path = file_io.join(self.path, name)
        try:
            content = json.loads(file_io.read_bytes(path))
        except ValueError as problem:
            raise InputError(f"{path}: is not JSON ({problem}); run the step that made the table again") from None
        return content if isinstance(content, dict) else {}

    def scan(
        self, columns: list[str] | None, where: ds.Expression | None = None, files: Sequence[str] | None = None
    ) -> Iterator[pa.RecordBatch]:
        """Some columns of the rows that fit, in the order of the files.

        Args:
            columns: their names, None for all; `__filename` is the path of the row's file.
            where: which rows; by default all.
            files: names of the files to read; by default all.

        Raises:
            InputError: a file is not a table of ours.
            StorageError: a file cannot be read.
        """
        names = self.shards if files is None else list(files)
        if not names:
            return
        fs, folder = file_io.filesystem(self.path)
        with _readable(self.path):
            dataset = ds.dataset([f"{folder}/{name}" for name in names], format="parquet", filesystem=self._reader(fs))
            # Shards are small: few at a time keep two cores busy, and memory at what these hold.
            yield from dataset.to_batches(
                columns=columns, filter=where, batch_size=4096, batch_readahead=4, fragment_readahead=4 * _threads(fs)
            )

    def _reader(self, fs: Any) -> pafs.FileSystem:
        if isinstance(fs, LocalFileSystem):
            return pafs.LocalFileSystem()
        pa.set_io_thread_count(REMOTE_THREADS)
        return pafs.PyFileSystem(_Ranges(fs, self.sizes))

    def find(self, where: ds.Expression, limit: int) -> Found:
        """Count the rows that fit, and read the first of them whole."""
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
                rows += self._whole(name, where, limit - len(rows))
        return Found(total, dict(sorted(reasons.items())), rows)

    def _whole(self, file: str, where: ds.Expression, limit: int) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = []
        for batch in self.scan(None, where, [file]):
            rows += batch.slice(0, limit - len(rows)).to_pylist()
        return [{name: value for name, value in row.items() if value is not None} for row in rows]


def _threads(fs: Any) -> int:
    return 1 if isinstance(fs, LocalFileSystem) else REMOTE_THREADS // 4


class _Ranges(pafs.FSSpecHandler):  # type: ignore[misc]
    """Reads what Arrow asks for and nothing around it: s3fs reads 50 MB ahead, which is all of a shard."""

    def __init__(self, fs: Any, sizes: Mapping[str, int]) -> None:
        super().__init__(fs)
        self.sizes = sizes

    def open_input_file(self, path: str) -> pa.PythonFile:
        """Open a file; what the listing told of it saves a request."""
        size = self.sizes[path.rpartition("/")[2]]
        file = self.fs.open(path, "rb", cache_type="none", size=size)
        file.details = {"name": path, "size": size}
        return pa.PythonFile(file, mode="r")


@contextmanager
def _readable(path: str) -> Iterator[None]:
    try:
        with file_io.storage_errors(path):
            yield
    except pa.ArrowException as problem:
        told = " ".join(str(problem).split())
        raise InputError(f"{path}: a file of it cannot be read ({told}); make the table again") from None


@dataclass(frozen=True)
class Tables:
    """The tables that there are and, in `expected`, those that the config wants."""

    places: Mapping[str, Place]
    expected: tuple[str, ...]

    @staticmethod
    def of(config: RunConfig) -> "Tables":
        """List a run's output, and that of the run whose data it trains on.

        Raises:
            InputError: there is no such output.
        """
        places = _listed(config.output)
        if config.training.data:
            others = _listed(config.training.data)
            places |= {name: place for name, place in others.items() if is_from_training_data(name)}
        return Tables(places, tuple(_expected(config)))

    def __getitem__(self, name: str) -> Place:
        return self.places.get(name) or Place(name, {})

    def named(self, pattern: str) -> list[str]:
        """The names of tables, those of the config first, that fit a shell pattern, whose `*` is one folder."""
        names = dict.fromkeys([*self.expected, *sorted(self.places)])
        depth = pattern.count("/")
        return [name for name in names if name.count("/") == depth and fnmatchcase(name, pattern)]


def _listed(output: str) -> dict[str, Place]:
    if not file_io.exists(output):
        raise InputError(f"output {output}: there is no run; make one (make synthesize), or name its folder")
    folders: dict[str, dict[str, int]] = {}
    for path, size in file_io.sizes(output).items():
        folder, _, name = path.rpartition("/")
        if name.endswith((SUFFIX, MANIFEST, INPUTS)) and not is_outside_tables(path):
            folders.setdefault(folder, {})[name] = size
    return {folder: Place(file_io.join(output, folder), sizes) for folder, sizes in folders.items() if folder}


def _expected(config: RunConfig) -> Iterator[str]:
    yield from ("personas", "profiles")
    corpora = [one.corpus for one in config.instructions]
    yield from (f"instructions/{corpus}" for corpus in corpora)
    yield from (f"dialogues/{strategy}-{corpus}" for corpus in corpora for strategy in config.dialogues.strategies)
    yield from (f"{step}/{split}" for step in ("curated", "packed") for split in ("train", "validation"))
    yield "checkpoints"
    evaluation = config.evaluation
    if evaluation.candidates:
        yield from (f"evaluation/benchmark/{name}" for name in ("personas", "questions", "examples"))
    if any(candidate.condition == "profile" for candidate in evaluation.candidates):
        yield "evaluation/benchmark/profiles"
    for candidate in evaluation.candidates:
        yield f"evaluation/{candidate.name}/answers"
    for candidate in evaluation.candidates:
        yield from (f"evaluation/{candidate.name}/judgments/{judge.name}" for judge in evaluation.judges)

"""Records to Parquet and back: a table is a folder of shards and, once it is whole, a manifest.

    <table>/.inputs.json        fingerprint of the settings and inputs that its shards are made of
    <table>/<shard>.parquet     a few dozen to a few thousand rows
    <table>/.manifest.json      written last: no manifest, not finished

A shard is the unit of work: it is written whole under a name that its rows decide, so writing it
twice changes nothing. That is what makes a killed run resume exactly once: the shards that are
there are done, the others are not. A table whose fingerprint differs is moved aside, not mixed, and
comes back when its settings do. What cannot be read any more counts as not there. Whatever is no row
begins with `.`: Arrow and what is built on it pass over `_` too, but `datasets` reads that as rows.
"""

import dataclasses
import hashlib
import io
import json
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from factory.errors import DamagedError, TableError
from factory.records import Counts
from factory.storage import archive, file_io, folder_moves
from factory.storage.bucket_keys import MAX_CONCURRENCY
from factory.storage.input_changes import explain_changes
from factory.storage.local_files import DRAFT
from factory.storage.rows import Row, count_rows
from factory.text.redaction import redact_secrets

MANIFEST = ".manifest.json"
INPUTS = ".inputs.json"
SUFFIX = ".parquet"
TEMPORARY = "_tmp"
"""The folder of an output that holds intermediate files."""
REJECTED = "rejected-"
"""How shards begin in which input stands that was refused on reading."""
DAMAGED = ".damaged/"
"""Where shards lie, in the table's folder, that could not be read."""
UNREADABLE = (pa.ArrowException, OSError, UnicodeDecodeError)
"""What Arrow raises of a file that is not what was written."""
MIN_SHARD_ROWS = 16
MAX_SHARD_ROWS = 4096
MANY = 1 << 40
"""More rows than a table has: of one that is still to be made, nobody knows how many."""
SHARDS = 1024
"""About so many shards a table: enough to spread over a hundred engines, few enough to list."""


def compute_fingerprint(settings: Mapping[str, Any]) -> str:
    """A hash of settings, the same for the same settings whatever their order."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]


def rows_per_shard(rows: int) -> int:
    """How many rows a shard should hold in a table of so many."""
    return min(max(rows // SHARDS, MIN_SHARD_ROWS), MAX_SHARD_ROWS)


@dataclasses.dataclass(frozen=True)
class Table:
    """A table by its place: the run's output folder and the table's path in it."""

    output: str
    name: str

    @property
    def path(self) -> str:
        """The table's folder."""
        return file_io.join(self.output, self.name)

    @property
    def temporary_folder(self) -> str:
        """The folder for intermediate files of building the table."""
        return file_io.join(self.output, TEMPORARY, self.name.replace("/", "-"))

    def manifest(self) -> dict[str, Any] | None:
        """What the finished table says of itself; None where it is not finished."""
        if (seen := archive.rehearsal()) and self.path in seen.manifests:
            return seen.manifests[self.path]
        return self._document(MANIFEST) or None

    def inputs(self) -> dict[str, Any] | None:
        """The settings and inputs that its shards are made of; None where it was never begun."""
        begun = self._begun()
        return begun and begun["settings"]

    def _begun(self) -> dict[str, Any] | None:
        begun = self._document(INPUTS)
        is_ours = isinstance(begun.get("fingerprint"), str) and isinstance(begun.get("settings"), dict)
        return begun if is_ours else None

    def _document(self, name: str) -> dict[str, Any]:
        return file_io.read_document(file_io.join(self.path, name)) or {}

    def begin(
        self, fingerprint: str, settings: Mapping[str, Any], say: Callable[[str], object] = lambda line: None
    ) -> None:
        """Open the table for these settings; one made with others moves to `archive/`, and `say` is told why.

        What there is of a table with the same fingerprint stays, or comes back from there.
        """
        if seen := archive.rehearsal():
            self._rehearse(seen, fingerprint, settings)
            return
        folder_moves.settle(self.output, self.name, MANIFEST)
        before = self._begun()
        if before and before["fingerprint"] == fingerprint:
            return
        if self._is_empty():
            file_io.delete_folder(self.path)
        else:
            made_with = before["fingerprint"] if before else archive.UNKNOWN
            why = _why_rebuilt(before, settings)
            place = archive.archive_folder(self.output, self.name, made_with, MANIFEST)
            say(f"{self.name}: begins anew, as {why}; the old one is in {place}")
        if kept := self.kept(fingerprint):
            folder_moves.move_folder(self.output, kept.name, self.name, MANIFEST)
            say(f"{self.name}: was made with these settings before, and is taken back from {kept.path}")
            return
        document = {"fingerprint": fingerprint, "settings": settings}
        file_io.write_bytes(file_io.join(self.path, INPUTS), _pretty(document))

    def _rehearse(self, seen: archive.Rehearsal, fingerprint: str, settings: Mapping[str, Any]) -> None:
        before, there = self._begun(), self._document(MANIFEST)
        now = there
        if not before or before["fingerprint"] != fingerprint:
            if rows := self.rows_written():
                seen.changes.append(archive.Change(self.name, rows, _why_rebuilt(before, settings)))
            kept = self.kept(fingerprint)
            now = kept._document(MANIFEST) if kept else {}
        if not now:
            now = {"fingerprint": fingerprint, "finished": None, "ok": MANY, "rows_in": MANY, "rejected": {}}
            if before and there and there.get("fingerprint") != before["fingerprint"]:
                # Of input the fingerprint is that of its rows, which may be the same in other files.
                now |= {name: there.get(name) for name in ("fingerprint", "finished")}
        seen.manifests[self.path] = now

    def rows_written(self) -> int:
        """Count the rows that are there: by the manifest, or where it is not finished by its shards."""
        if manifest := self._document(MANIFEST):
            return int(manifest.get("rows_in", 0))
        fs, name = file_io.filesystem(self.path)

        def rows(shard: str) -> int:
            with fs.open(file_io.join(name, shard + SUFFIX), "rb") as file:
                try:
                    return int(pq.ParquetFile(file).metadata.num_rows)
                except UNREADABLE:
                    return 0

        with file_io.storage_errors(self.path), ThreadPoolExecutor(MAX_CONCURRENCY) as pool:
            return sum(pool.map(rows, self.shards()))

    def kept(self, fingerprint: str) -> "Table | None":
        """What was set aside of this table with a fingerprint: a finished one, or that which has most shards."""
        names = archive.archived_folders(self.output, self.name, fingerprint, MANIFEST)
        there = [Table(self.output, name) for name in names]
        found = [table for table in there if table._is_made_with(fingerprint)]
        return max(found, key=lambda table: (table.manifest() is not None, len(table.shards())), default=None)

    def _is_made_with(self, fingerprint: str) -> bool:
        begun = self._begun()
        return bool(begun and begun["fingerprint"] == fingerprint)

    def _is_empty(self) -> bool:
        """Whether nothing was written but settings, and what a kill left of writing them."""
        if not file_io.exists(self.path):
            return True
        return all(name == INPUTS or name.endswith(DRAFT) for name in file_io.sizes(self.path))

    def finish(self, manifest: Mapping[str, Any], repeatable: bool = False) -> None:
        """Write the manifest: from now on the table is whole.

        Args:
            manifest: what the table says of itself.
            repeatable: whether making it again makes the same rows. It then has the time at which it was finished
                before a shard of it was damaged, so that what was made of it stays.
        """
        former = file_io.read_document(file_io.join(self.path, DAMAGED + MANIFEST)) or {}
        if repeatable and former.get("fingerprint") == manifest["fingerprint"]:
            manifest = {**manifest, "finished": former.get("finished", manifest["finished"])}
        file_io.write_bytes(file_io.join(self.path, MANIFEST), _pretty(manifest))

    def shards(self) -> list[str]:
        """The sorted names of the shards that are there, those of rejected input apart."""
        names = file_io.list_names(self.path, SUFFIX)
        return [name.removesuffix(SUFFIX) for name in names if not name.startswith(REJECTED)]

    def read(self, shard: str, columns: list[str] | None = None) -> pa.Table:
        """The rows of a shard.

        Raises:
            DamagedError: it is not what was written.
        """
        path = file_io.join(self.path, shard + SUFFIX)
        data = file_io.read_bytes(path)
        try:
            return pq.read_table(io.BytesIO(data), columns=columns, page_checksum_verification=True)
        except UNREADABLE as problem:
            raise DamagedError.of(path, problem) from None

    def drop_damaged(self, shard: str) -> None:
        """Take a shard that cannot be read out of the table, which is not finished then; it stays in `.damaged/`."""
        for name in (MANIFEST, shard + SUFFIX):
            path = file_io.join(self.path, name)
            if (content := file_io.read_if_there(path)) is not None:
                file_io.write_bytes(file_io.join(self.path, DAMAGED + name), content)
                file_io.delete_file(path)

    def write(self, shard: str, rows: Iterable[Row], schema: pa.Schema) -> Counts:
        """Write a shard, whole or not at all; rows lack what is null."""
        table = pa.Table.from_pylist(list(rows), schema=schema)
        self.write_arrow(shard, table)
        return count_rows(table)

    def write_arrow(self, shard: str, rows: pa.Table) -> None:
        """Write a shard that is an Arrow table already."""
        buffer = io.BytesIO()
        pq.write_table(rows, buffer, compression="zstd", write_page_checksum=True)
        file_io.write_bytes(file_io.join(self.path, shard + SUFFIX), buffer.getvalue())

    def check_complete(self, counts: Counts, rows_in: int) -> None:
        """Accepted and rejected rows add up to the rows that went in.

        Raises:
            TableError: they do not; the manifest must not be written.
        """
        if counts.rows != rows_in:
            raise TableError(
                f"{self.path}: {rows_in} rows went in, "
                f"{counts.ok} accepted and {counts.rows - counts.ok} rejected came out"
            )


def _why_rebuilt(before: Mapping[str, Any] | None, settings: Mapping[str, Any]) -> str:
    return explain_changes(before["settings"], settings) if before else f"its {INPUTS} cannot be read"


def _pretty(document: Mapping[str, Any]) -> bytes:
    return (json.dumps(redact_secrets(document), indent=2, ensure_ascii=False) + "\n").encode()

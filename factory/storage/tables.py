"""Tables: folders of Parquet shards, with a manifest once they are complete.

    <table>/.inputs.json        fingerprint of the settings and inputs that determine its shards
    <table>/<shard>.parquet     a few dozen to a few thousand rows
    <table>/.manifest.json      written last: without it the table is not finished

A shard is the unit of work: it is written atomically under a name that depends on its rows, so writing it
twice changes nothing. This is how a killed run resumes exactly once: it skips the shards that exist. A table
with another fingerprint is archived, never mixed, and restored when its settings return. Files that cannot be
read count as missing. Names of all other files begin with `.`: Arrow, and libraries on top of it, skip `_`
too, but `datasets` reads such files as rows.
"""

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Set
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pyarrow as pa

from factory.errors import DamagedError, TableError
from factory.records import Counts
from factory.storage import archive, file_io, folder_moves
from factory.storage.bucket_keys import MAX_CONCURRENCY
from factory.storage.footers import UNREADABLE, counts_in, from_parquet, read_footer, to_parquet
from factory.storage.input_changes import explain_changes
from factory.storage.local_files import DRAFT
from factory.storage.rows import COUNTED_COLUMNS, Row, count_rows
from factory.text.redaction import redact_secrets

MANIFEST = ".manifest.json"
INPUTS = ".inputs.json"
SUFFIX = ".parquet"
TEMPORARY = "_tmp"
"""The folder of an output that holds intermediate files."""
REJECTED = "rejected-"
"""Prefix of shards that hold rejected input rows."""
DAMAGED = ".damaged/"
"""The folder of a table for shards that could not be read."""
MIN_SHARD_ROWS = 16
MAX_SHARD_ROWS = 4096
MANY = 1 << 40
"""More rows than any table has: for one that is still to be built, whose number of rows is unknown."""
SHARDS = 1024
"""Approximate number of shards per table: enough to spread over a hundred engines, few enough to list."""


def compute_fingerprint(inputs: Mapping[str, Any]) -> str:
    """Hash settings and inputs, whatever their order."""
    return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()[:16]


def rows_per_shard(rows: int) -> int:
    """Return how many rows each shard should hold, for a table of `rows` rows."""
    return min(max(rows // SHARDS, MIN_SHARD_ROWS), MAX_SHARD_ROWS)


@dataclasses.dataclass(frozen=True)
class Table:
    """A table, located by the run's output folder and its path in that folder."""

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
        """Return the manifest, or None if the table is not finished."""
        if (rehearsal := archive.current_rehearsal()) and self.path in rehearsal.manifests:
            return rehearsal.manifests[self.path]
        return self._document(MANIFEST) or None

    def inputs(self) -> dict[str, Any] | None:
        """Return the settings and inputs that determine its shards, or None if the table was never begun."""
        begun = self._begun()
        return begun and begun["settings"]

    def _begun(self) -> dict[str, Any] | None:
        begun = self._document(INPUTS)
        is_valid = isinstance(begun.get("fingerprint"), str) and isinstance(begun.get("settings"), dict)
        return begun if is_valid else None

    def _document(self, name: str) -> dict[str, Any]:
        return file_io.read_document(file_io.join(self.path, name)) or {}

    def begin(
        self,
        fingerprint: str,
        inputs: Mapping[str, Any],
        report: Callable[[str], object] = lambda line: None,
        changeable: Set[str] = frozenset(),
    ) -> None:
        """Open the table for these inputs, and archive one that was built from others.

        Existing shards with the same fingerprint stay, or are restored from the archive.

        Args:
            fingerprint: of the inputs.
            inputs: the settings and inputs that determine the rows.
            report: called with a line that explains why a table is archived or restored.
            changeable: names of inputs with which an unfinished table goes on, whatever they were before.
        """
        if rehearsal := archive.current_rehearsal():
            self._rehearse(rehearsal, fingerprint, inputs, changeable)
            return
        folder_moves.settle(self.output, self.name, MANIFEST)
        before = self._begun()
        if before and before["fingerprint"] == fingerprint:
            return
        if self._is_empty():
            file_io.delete_folder(self.path)
        elif before and self._goes_on(before, fingerprint, inputs, changeable):
            report(f"{self.name}: goes on with other settings: {explain_changes(before['settings'], inputs)}")
            self._write_inputs(fingerprint, inputs)
            return
        else:
            old = before["fingerprint"] if before else archive.UNKNOWN
            reason = _why_rebuilt(before, inputs)
            path = archive.archive_folder(self.output, self.name, old, MANIFEST)
            report(f"{self.name}: is rebuilt, because {reason}; the old one is in {path}")
        if archived := self.archived(fingerprint):
            folder_moves.move_folder(self.output, archived.name, self.name, MANIFEST)
            report(f"{self.name}: was built with these settings before, and is restored from {archived.path}")
            return
        self._write_inputs(fingerprint, inputs)

    def _write_inputs(self, fingerprint: str, inputs: Mapping[str, Any]) -> None:
        document = {"fingerprint": fingerprint, "settings": inputs}
        file_io.write_bytes(file_io.join(self.path, INPUTS), _to_json(document))

    def _goes_on(
        self, before: Mapping[str, Any], fingerprint: str, inputs: Mapping[str, Any], changeable: Set[str]
    ) -> bool:
        """Return whether the unfinished table differs from these inputs in changeable ones alone."""
        old, new = (json.loads(json.dumps(settings)) for settings in (before["settings"], inputs))
        if old.keys() != new.keys():
            return False
        changed = {name for name in new if old[name] != new[name]}
        is_allowed = bool(changed) and changed <= changeable
        return is_allowed and not self._document(MANIFEST) and self.archived(fingerprint) is None

    def _rehearse(
        self, rehearsal: archive.Rehearsal, fingerprint: str, inputs: Mapping[str, Any], changeable: Set[str]
    ) -> None:
        before, current = self._begun(), self._document(MANIFEST)
        after = current
        is_same = before is not None and (
            before["fingerprint"] == fingerprint or self._goes_on(before, fingerprint, inputs, changeable)
        )
        rehearsal.all_finished &= is_same and bool(current)
        if not is_same:
            if rows := self.rows_written():
                rehearsal.changes.append(archive.Change(self.name, rows, _why_rebuilt(before, inputs)))
            archived = self.archived(fingerprint)
            after = archived._document(MANIFEST) if archived else {}
        if not after:
            after = {"fingerprint": fingerprint, "finished": None, "ok": MANY, "rows_in": MANY, "rejected": {}}
            if before and current and current.get("fingerprint") != before["fingerprint"]:
                # The fingerprint of ingested input is that of its rows, which may be the same in other files.
                after |= {name: current.get(name) for name in ("fingerprint", "finished")}
        rehearsal.manifests[self.path] = after

    def rows_written(self) -> int:
        """Count the rows on disk: by the manifest, or by the shards of an unfinished table."""
        if manifest := self._document(MANIFEST):
            return int(manifest.get("rows_in", 0))

        def rows(shard: str) -> int:
            try:
                return int(read_footer(self._file(shard)).num_rows)
            except DamagedError:
                return 0

        with ThreadPoolExecutor(MAX_CONCURRENCY) as pool:
            return sum(pool.map(rows, self.shards()))

    def archived(self, fingerprint: str) -> "Table | None":
        """Return the archived table with a fingerprint: a finished one, or the one with the most shards."""
        names = archive.archived_folders(self.output, self.name, fingerprint, MANIFEST)
        tables = [Table(self.output, name) for name in names]
        found = [table for table in tables if (table._begun() or {}).get("fingerprint") == fingerprint]
        return max(found, key=lambda table: (table.manifest() is not None, len(table.shards())), default=None)

    def _is_empty(self) -> bool:
        """Return whether the folder holds no more than the inputs, or drafts that a kill left."""
        if not file_io.exists(self.path):
            return True
        return all(name == INPUTS or name.endswith(DRAFT) for name in file_io.sizes(self.path))

    def finish(self, manifest: Mapping[str, Any], repeatable: bool = False) -> None:
        """Write the manifest, which marks the table as complete.

        Args:
            manifest: the document to write.
            repeatable: whether building the table again gives the same rows. It then keeps the time at which it
                was finished before one of its shards was damaged, so that the tables built from it stay valid.
        """
        former = file_io.read_document(file_io.join(self.path, DAMAGED + MANIFEST)) or {}
        if repeatable and former.get("fingerprint") == manifest["fingerprint"]:
            manifest = {**manifest, "finished": former.get("finished", manifest["finished"])}
        file_io.write_bytes(file_io.join(self.path, MANIFEST), _to_json(manifest))

    def reopen(self) -> None:
        """Let a finished table go on with the shards that it has."""
        if rehearsal := archive.current_rehearsal():
            rehearsal.all_finished = False
            rehearsal.manifests[self.path] |= {"finished": None, "ok": MANY, "rows_in": MANY}
        else:
            file_io.delete_file(file_io.join(self.path, MANIFEST))

    def shards(self) -> list[str]:
        """Return the sorted names of the shards on disk, without those of rejected input."""
        names = file_io.list_names(self.path, SUFFIX)
        return [name.removesuffix(SUFFIX) for name in names if not name.startswith(REJECTED)]

    def read(self, shard: str, columns: list[str] | None = None) -> pa.Table:
        """Return the rows of a shard.

        Raises:
            DamagedError: it is not what was written.
        """
        path = self._file(shard)
        data = file_io.read_bytes(path)
        try:
            return from_parquet(data, columns)
        except UNREADABLE as problem:
            raise DamagedError.of(path, problem) from None

    def count(self, shard: str) -> Counts:
        """Count the rows of a shard that `write` wrote: by its footer, or by its rows if that holds no counts.

        Raises:
            DamagedError: it is not what was written, as far as `read_footer` finds it.
        """
        counts = counts_in(read_footer(self._file(shard)))
        return counts or count_rows(self.read(shard, COUNTED_COLUMNS))

    def _file(self, shard: str) -> str:
        return file_io.join(self.path, shard + SUFFIX)

    def drop_damaged(self, shard: str) -> None:
        """Move a damaged shard to `.damaged/`, with the manifest: the table is no longer finished."""
        for name in (MANIFEST, shard + SUFFIX):
            path = file_io.join(self.path, name)
            if (content := file_io.read_if_there(path)) is not None:
                file_io.write_bytes(file_io.join(self.path, DAMAGED + name), content)
                file_io.delete_file(path)

    def write(self, shard: str, rows: Iterable[Row], schema: pa.Schema) -> Counts:
        """Write a shard atomically; columns that a row lacks are null."""
        table = pa.Table.from_pylist(list(rows), schema=schema)
        counts = count_rows(table)
        file_io.write_bytes(self._file(shard), to_parquet(table, counts))
        return counts

    def write_arrow(self, shard: str, rows: pa.Table) -> None:
        """Write a shard from an Arrow table."""
        file_io.write_bytes(self._file(shard), to_parquet(rows))

    def check_complete(self, counts: Counts, rows_in: int) -> None:
        """Check that accepted and rejected rows add up to the input rows.

        Raises:
            TableError: they do not; the manifest must not be written.
        """
        if counts.rows != rows_in:
            raise TableError(
                f"{self.path}: {rows_in} rows went in, "
                f"{counts.ok} accepted and {counts.rows - counts.ok} rejected came out"
            )


def _why_rebuilt(before: Mapping[str, Any] | None, inputs: Mapping[str, Any]) -> str:
    return explain_changes(before["settings"], inputs) if before else f"its {INPUTS} cannot be read"


def _to_json(document: Mapping[str, Any]) -> bytes:
    return (json.dumps(redact_secrets(document), indent=2, ensure_ascii=False) + "\n").encode()

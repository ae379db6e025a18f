"""Write an export of dialogues with a data set card: streamed by one process, without Ray.

    <folder>/.inputs.json                          the settings; written first
    <folder>/train-00000-of-00004.jsonl ...        the files of a split
    <folder>/README.md                             the data set card
    <folder>/.manifest.json                        written last: without it, the export is not finished

Interrupted, incomplete or outdated exports are rebuilt.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from factory.errors import StorageError, TableError
from factory.export.export_files import SHARD_BYTES, FileType, WrittenFiles, json_line, split_rows, write_shards
from factory.export.export_stats import ExportStats
from factory.export.preference_format import PREFERENCES
from factory.export.sources import ExportPart, Sources
from factory.records import Counts
from factory.runtime.progress import Progress
from factory.storage import file_io
from factory.storage.file_io import join
from factory.storage.local_files import DRAFT
from factory.storage.manifest import build_manifest
from factory.storage.rows import Row
from factory.storage.run_lock import LEASE, LOCK
from factory.storage.tables import INPUTS, MANIFEST, compute_fingerprint

CARD = "README.md"
FILES = r"((train|validation|characters)-\d{5}-of-\d{5}\.(jsonl|parquet)|[0-9a-f]{16}\.(json|png))"
_EXPORT_FILES = re.compile(rf"{FILES}|README\.md|\.(manifest|inputs)\.json")
_HEX = "[0-9a-f]{32}"
_LEFTOVERS = re.compile(
    rf"(\.{FILES}|\.(README\.md|manifest\.json|inputs\.json|writable-{_HEX})\.{_HEX}){re.escape(DRAFT)}"
    rf"|{re.escape(file_io.PROBE)}{_HEX}|{re.escape(LOCK)}|{re.escape(LEASE)}"
)
"""The files that a killed export leaves, and the lock files."""
EXAMPLE_BYTES = 4000
"""The card's example is the first row that takes less, or else the shortest of the first `EXAMPLE_ROWS`."""
EXAMPLE_ROWS = 256


@dataclass(frozen=True)
class ExportedPart:
    """A part after it was written."""

    part: ExportPart
    written: WrittenFiles
    stats: ExportStats
    example: Row


def default_folder(sources: Sources) -> str:
    """Return the default folder of an export."""
    name = sources.format if sources.what == "curated" else f"{sources.what}-{sources.format}"
    return join(sources.config.output, "export", name)


def check_folder(folder: str) -> None:
    """Check that a folder can be written, and has no files but those of an earlier export.

    Raises:
        StorageError: it has other files, which would be deleted or published with the export.
    """
    names = file_io.sizes(folder) if file_io.exists(folder) else {}
    kept = [name for name in names if not _LEFTOVERS.fullmatch(name)]
    foreign = [name for name in kept if not _EXPORT_FILES.fullmatch(name)]
    if foreign or (kept and INPUTS not in kept):
        file = (foreign or kept)[0]
        raise StorageError(f"output {folder}: has {file}, which no export wrote; give --output an empty folder")
    file_io.check_writable(folder)


def export(
    sources: Sources, folder: str, file_type: FileType, progress: Progress, shard_bytes: int = SHARD_BYTES
) -> None:
    """Write an export, unless it exists already.

    Raises:
        TableError: the number of rows differs from the manifests of the tables.
    """
    fingerprint = compute_fingerprint(sources.settings)
    name = folder.rstrip("/").rsplit("/", 1)[-1]
    finished = begin_export(folder, fingerprint, sources.settings)
    if finished:
        progress.record_table(finished, skipped=True)
        return
    rows = sum(part.rows for part in sources.parts)
    progress.start([f"export/{name}"], rows)
    try:
        exported = [_write_part(part, folder, file_type, progress, shard_bytes) for part in sources.parts]
    finally:
        progress.stop()
    counts = Counts(ok=sum(one.written.rows for one in exported))
    parts = {one.part.name: {"rows": one.written.rows, "files": one.written.files} for one in exported}
    figures = {one.part.name: one.stats.to_json() for one in exported if one.part.has_stats}
    manifest = build_manifest(
        f"export/{name}", rows, counts, progress.timing(counts), fingerprint, parts=parts, figures=figures
    )
    examples = {one.part.name: one.example for one in exported}
    finish_export(folder, _card(sources, file_type, manifest, examples), manifest, progress)


def _card(sources: Sources, file_type: FileType, manifest: dict[str, Any], examples: dict[str, Row]) -> str:
    # Jinja and the language detector take a second to import, which a finished export does not need.
    from factory.export import dataset_card, preference_card

    build = preference_card.build_card if sources.format == PREFERENCES else dataset_card.build_card
    return build(sources, file_type, manifest, examples)


def begin_export(folder: str, fingerprint: str, settings: dict[str, Any]) -> dict[str, Any] | None:
    """Return the manifest of a finished export; else clear the folder for a new one and return None."""
    sizes = file_io.sizes(folder)
    started, finished = (file_io.read_document(join(folder, name)) or {} for name in (INPUTS, MANIFEST))
    if started.get("fingerprint") == fingerprint and _is_complete(finished, sizes):
        return finished
    # The manifest is deleted first: what a kill leaves is then not taken for a finished export.
    for name in sorted(sizes, key=lambda name: (name != MANIFEST, name == INPUTS)):
        if name not in (LOCK, LEASE):
            file_io.delete_file(join(folder, name))
    file_io.write_bytes(join(folder, INPUTS), _pretty({"fingerprint": fingerprint, "settings": settings}))
    return None


def finish_export(folder: str, card: str, manifest: dict[str, Any], progress: Progress) -> None:
    """Write the README.md and the manifest of an export, which completes it."""
    file_io.write_bytes(join(folder, CARD), card.encode())
    file_io.write_bytes(join(folder, MANIFEST), _pretty(manifest))
    progress.record_table(manifest)


def _is_complete(manifest: dict[str, Any], sizes: dict[str, int]) -> bool:
    """Return whether an export has exactly the files of its manifest, and its card.

    Readers load all files with these names, and publishing deletes those on the Hub that are not here.
    """
    written = {name: size for part in manifest.get("parts", {}).values() for name, size in part["files"].items()}
    found = {name: size for name, size in sizes.items() if re.fullmatch(FILES, name)}
    return bool(manifest) and found == written and sizes.get(CARD, 0) > 0


def _write_part(
    part: ExportPart, folder: str, file_type: FileType, progress: Progress, shard_bytes: int
) -> ExportedPart:
    stats, example = ExportStats(), _ExampleRow()

    def observe(rows: pa.Table) -> None:
        if part.has_stats:
            stats.add(rows)
        progress.advance(Counts(ok=rows.num_rows))

    rows = example.watch(part.read(observe))
    sizes = split_rows(part.rows, part.bytes_per_row(file_type), shard_bytes)
    written = write_shards(rows, part.shape.schema, part.name, sizes, folder, file_type)
    left = sum(1 for _ in rows)
    if written.rows != part.rows or left:
        paths = ", ".join(table.path for table in part.tables)
        expected = f"{part.rows} accepted rows by the manifest"
        if part.only is not None:
            expected = f"{part.rows} characters have accepted dialogues"
        raise TableError(f"{paths}: {expected}, but {written.rows + left} were found")
    return ExportedPart(part, written, stats, example.row)


def _pretty(document: dict[str, Any]) -> bytes:
    return (json.dumps(document, indent=2, ensure_ascii=False) + "\n").encode()


class _ExampleRow:
    """Keeps an example of the rows."""

    def __init__(self) -> None:
        self.row: Row = {}
        self._bytes = self._seen = 0

    def watch(self, rows: Iterator[Row]) -> Iterator[Row]:
        for row in rows:
            if self._seen < EXAMPLE_ROWS and not 0 < self._bytes <= EXAMPLE_BYTES:
                size = len(json_line(row))
                if not self._bytes or size < self._bytes:
                    self.row, self._bytes = row, size
                self._seen += 1
            yield row

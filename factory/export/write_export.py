"""Dialogues to files that others read, with a card: streamed by one process, without Ray.

    <folder>/.inputs.json                          what it is made of; written first
    <folder>/train-00000-of-00004.jsonl ...        whole files, a split each name
    <folder>/README.md                             the data set's card
    <folder>/.manifest.json                        written last: no manifest, not finished

An export that was interrupted or has lost a file starts again, and one whose sources changed is made anew.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from factory.errors import StorageError, TableError
from factory.export.export_files import SHARD_BYTES, FileType, Written, cut, json_line, write_shards
from factory.export.export_stats import Figures
from factory.export.sources import CHARACTERS_PART, Part, Sources
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
FILES = r"(train|validation|characters)-\d{5}-of-\d{5}\.(jsonl|parquet)"
_OURS = re.compile(rf"{FILES}|README\.md|\.(manifest|inputs)\.json")
_HEX = "[0-9a-f]{32}"
_LEFT = re.compile(
    rf"(\.{FILES}|\.(README\.md|manifest\.json|inputs\.json|writable-{_HEX})\.{_HEX}){re.escape(DRAFT)}"
    rf"|{re.escape(file_io.PROBE)}{_HEX}|{re.escape(LOCK)}|{re.escape(LEASE)}"
)
"""What a kill leaves, and who works on the folder."""
EXAMPLE_BYTES = 4000
"""The card's example is the first row that takes less, or else the shortest of the first ones."""
EXAMPLES = 256
"""So many rows are looked at for it."""


@dataclass(frozen=True)
class Exported:
    """A part as it was written."""

    part: Part
    written: Written
    figures: Figures
    example: Row


def folder_of(sources: Sources) -> str:
    """Where an export lies unless told otherwise."""
    name = sources.format if sources.what == "curated" else f"{sources.what}-{sources.format}"
    return join(sources.config.output, "export", name)


def check_folder(folder: str) -> None:
    """Check that a folder can be written, and holds nothing but an earlier export.

    Raises:
        StorageError: it holds something else, which would be deleted or published with it.
    """
    there = file_io.sizes(folder) if file_io.exists(folder) else {}
    kept = [name for name in there if not _LEFT.fullmatch(name)]
    foreign = [name for name in kept if not _OURS.fullmatch(name)]
    if foreign or (kept and INPUTS not in kept):
        held = (foreign or kept)[0]
        raise StorageError(f"output {folder}: holds {held}, which no export wrote; give --output an empty folder")
    file_io.check_writable(folder)


def export(
    sources: Sources, folder: str, file_type: FileType, progress: Progress, shard_bytes: int = SHARD_BYTES
) -> None:
    """Write an export, unless the same one is there.

    Raises:
        TableError: other rows came out than the tables' manifests say.
    """
    fingerprint = compute_fingerprint(sources.settings)
    name = folder.rstrip("/").rsplit("/", 1)[-1]
    finished = _begin(folder, fingerprint, sources.settings)
    if finished:
        progress.done(finished, skipped=True)
        return
    rows = sum(part.rows for part in sources.parts)
    progress.begin([f"export/{name}"], rows)
    try:
        made = [_write(part, folder, file_type, progress, shard_bytes) for part in sources.parts]
    finally:
        progress.finish()
    counts = Counts(ok=sum(one.written.rows for one in made))
    told = {one.part.name: {"rows": one.written.rows, "files": one.written.files} for one in made}
    figures = {one.part.name: one.figures.told() for one in made if one.part.name != CHARACTERS_PART}
    manifest = build_manifest(
        f"export/{name}", rows, counts, progress.timing(counts), fingerprint, parts=told, figures=figures
    )
    # Jinja and the languages' detector take a second, which an export that is there need not wait for.
    from factory.export.dataset_card import card

    examples = {one.part.name: one.example for one in made}
    file_io.write_bytes(join(folder, CARD), card(sources, file_type, manifest, examples).encode())
    file_io.write_bytes(join(folder, MANIFEST), _pretty(manifest))
    progress.done(manifest)


def _begin(folder: str, fingerprint: str, settings: dict[str, Any]) -> dict[str, Any] | None:
    """The manifest of the export that is there; where it is none or another one, the folder is cleared for it."""
    sizes = file_io.sizes(folder)
    begun, finished = (file_io.read_document(join(folder, name)) or {} for name in (INPUTS, MANIFEST))
    if begun.get("fingerprint") == fingerprint and _is_whole(finished, sizes):
        return finished
    # The manifest goes first: whatever a kill leaves here is not taken for a finished export.
    for name in sorted(sizes, key=lambda name: (name != MANIFEST, name == INPUTS)):
        if name not in (LOCK, LEASE):
            file_io.delete_file(join(folder, name))
    file_io.write_bytes(join(folder, INPUTS), _pretty({"fingerprint": fingerprint, "settings": settings}))
    return None


def _is_whole(manifest: dict[str, Any], sizes: dict[str, int]) -> bool:
    """Whether the files of an export are those of its manifest, and its card is there.

    Its readers take all files of these names, and publishing deletes those on the Hub that are not here.
    """
    written = {name: size for part in manifest.get("parts", {}).values() for name, size in part["files"].items()}
    there = {name: size for name, size in sizes.items() if re.fullmatch(FILES, name)}
    return bool(manifest) and there == written and sizes.get(CARD, 0) > 0


def _write(part: Part, folder: str, file_type: FileType, progress: Progress, shard_bytes: int) -> Exported:
    figures, shortest = Figures(), _Shortest()

    def passing(rows: pa.Table) -> None:
        if part.name != CHARACTERS_PART:
            figures.add(rows)
        progress.advance(Counts(ok=rows.num_rows))

    rows = shortest.watching(part.read(passing))
    sizes = cut(part.rows, part.bytes_per_row(file_type), shard_bytes)
    written = write_shards(rows, part.shape.schema, part.name, sizes, folder, file_type)
    left = sum(1 for _ in rows)
    if written.rows != part.rows or left:
        paths = ", ".join(table.path for table in part.tables)
        expected = f"{part.rows} accepted rows by the manifest"
        if part.only is not None:
            expected = f"{part.rows} characters have accepted dialogues"
        raise TableError(f"{paths}: {expected}, but {written.rows + left} are there")
    return Exported(part, written, figures, shortest.row)


def _pretty(document: dict[str, Any]) -> bytes:
    return (json.dumps(document, indent=2, ensure_ascii=False) + "\n").encode()


class _Shortest:
    """Keeps an example of the rows that pass."""

    def __init__(self) -> None:
        self.row: Row = {}
        self._bytes = self._seen = 0

    def watching(self, rows: Iterator[Row]) -> Iterator[Row]:
        for row in rows:
            if self._seen < EXAMPLES and not 0 < self._bytes <= EXAMPLE_BYTES:
                size = len(json_line(row))
                if not self._bytes or size < self._bytes:
                    self.row, self._bytes = row, size
                self._seen += 1
            yield row

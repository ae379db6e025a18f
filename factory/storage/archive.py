"""The `archive/` folder of an output: tables of other settings, never overwritten, restored when needed.

archive/<table, with - for />-<fingerprint>      with -2, -3 and so on if there is one already
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from factory.storage import file_io, folder_moves

FOLDER = "archive"
UNKNOWN = "unknown"
"""Stands for the fingerprint of a folder without readable inputs."""


@dataclass(frozen=True)
class Change:
    """A table that a run would archive: how many rows it has, and why."""

    name: str
    rows: int
    why: str


@dataclass
class Rehearsal:
    """What a run would do to the tables that it opens, found without changing any."""

    changes: list[Change] = field(default_factory=list)
    manifests: dict[str, dict[str, Any]] = field(default_factory=dict)
    """By table path, as if the run had finished; `finished` is None if the rows are unknown."""
    all_finished: bool = True
    """Whether every table that was opened is finished, with the fingerprint of this run."""


_rehearsal: ContextVar[Rehearsal | None] = ContextVar("rehearsal", default=None)


@contextmanager
def rehearsing() -> Iterator[Rehearsal]:
    """Have `Table.begin` record what it would do, and count every opened table as finished."""
    rehearsal = Rehearsal()
    token = _rehearsal.set(rehearsal)
    try:
        yield rehearsal
    finally:
        _rehearsal.reset(token)


def current_rehearsal() -> Rehearsal | None:
    """Return the rehearsal in progress, if any."""
    return _rehearsal.get()


def is_outside_tables(path: str) -> bool:
    """Return whether a file, by its path in the output, is archived, intermediate or damaged."""
    folders = path.split("/")[:-1]
    return folders[:1] == [FOLDER] or any(folder.startswith(("_", ".")) for folder in folders)


def archive_folder(output: str, name: str, fingerprint: str, manifest: str) -> str:
    """Move a table or model to the archive under a new name, and return its path."""
    existing = {*archived_folders(output, name, fingerprint, manifest)}
    stem = _stem(name, fingerprint)
    names = (stem if n == 1 else f"{stem}-{n}" for n in range(1, len(existing) + 2))
    target = next(new for new in names if new not in existing)
    folder_moves.move_folder(output, name, target, manifest)
    return file_io.join(output, target)


def archived_folders(output: str, name: str, fingerprint: str, manifest: str) -> list[str]:
    """List the paths, in the output, of archived copies of a table or model with a fingerprint.

    Interrupted moves are settled first, except in a rehearsal.
    """
    pattern = re.compile(rf"{re.escape(_stem(name, fingerprint))}(-\d+)?")
    folders = [f"{FOLDER}/{entry}" for entry in file_io.list_names(file_io.join(output, FOLDER), "")]
    found = [folder for folder in folders if pattern.fullmatch(folder)]
    for folder in [] if current_rehearsal() else found:
        folder_moves.settle(output, folder, manifest)
    return [folder for folder in found if file_io.exists(file_io.join(output, folder))]


def _stem(name: str, fingerprint: str) -> str:
    return f"{FOLDER}/{name.replace('/', '-')}-{fingerprint}"

"""What other settings made, set aside in an output's `archive/`: never overwritten, and brought back when wanted.

archive/<table, with - for />-<fingerprint>      also with -2, -3 and so on, where there is one already
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
"""In place of the fingerprint of what does not say what it was made of."""


@dataclass(frozen=True)
class Change:
    """A table that a run would set aside: how many rows of it are written, and why."""

    name: str
    rows: int
    why: str


@dataclass
class Rehearsal:
    """What a run would do to the tables that it opens, found without changing any."""

    changes: list[Change] = field(default_factory=list)
    manifests: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Of each table, by its path, as if the run had made it; `finished` is None where nothing is known of its rows."""


_rehearsal: ContextVar[Rehearsal | None] = ContextVar("rehearsal", default=None)


@contextmanager
def rehearsing() -> Iterator[Rehearsal]:
    """Have `Table.begin` note what it would do, and every table that it opens pass for finished."""
    made = Rehearsal()
    token = _rehearsal.set(made)
    try:
        yield made
    finally:
        _rehearsal.reset(token)


def rehearsal() -> Rehearsal | None:
    """Return the rehearsal that is going on."""
    return _rehearsal.get()


def is_outside_tables(path: str) -> bool:
    """Whether a file, by its path from the output, is of no table that counts: set aside, intermediate or damaged."""
    folders = path.split("/")[:-1]
    return folders[:1] == [FOLDER] or any(folder.startswith(("_", ".")) for folder in folders)


def archive_folder(output: str, name: str, fingerprint: str, manifest: str) -> str:
    """Move a table or model to `archive/`, beside what is there, and return its path."""
    there = {*archived_folders(output, name, fingerprint, manifest)}
    stem = _stem(name, fingerprint)
    target = next(one for n in range(1, len(there) + 2) if (one := stem if n == 1 else f"{stem}-{n}") not in there)
    folder_moves.move_folder(output, name, target, manifest)
    return file_io.join(output, target)


def archived_folders(output: str, name: str, fingerprint: str, manifest: str) -> list[str]:
    """List the paths, from the output, of what was set aside of a table or model with a fingerprint.

    What a kill left of moving one is mended first, but not in a rehearsal.
    """
    pattern = re.compile(rf"{re.escape(_stem(name, fingerprint))}(-\d+)?")
    there = [f"{FOLDER}/{one}" for one in file_io.list_names(file_io.join(output, FOLDER), "")]
    found = [one for one in there if pattern.fullmatch(one)]
    for one in [] if rehearsal() else found:
        folder_moves.settle(output, one, manifest)
    return [one for one in found if file_io.exists(file_io.join(output, one))]


def _stem(name: str, fingerprint: str) -> str:
    return f"{FOLDER}/{name.replace('/', '-')}-{fingerprint}"

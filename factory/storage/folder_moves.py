"""Folders of an output moved to another place in it: a kill at any moment leaves one whole, and `settle` finds it.

On local disk a move is one step. In a bucket all files are copied, under a mark in the target; then the
source is marked as moved, and its files are deleted. Until that mark the source counts, and from then on
the target. Marks hold paths from the output, so that a copy of an output means itself.
"""

import os
from typing import Any

from fsspec.implementations.local import LocalFileSystem

from factory.storage import file_io
from factory.storage.file_io import join

COPYING = ".copying"
"""In a folder that another one is being copied to; it holds the path of that one."""
MOVED = ".moved"
"""In a folder whose files have all been copied; it holds the path that they were copied to."""


def move_folder(output: str, source: str, target: str, manifest: str) -> None:
    """Move a folder with all that it holds.

    Args:
        output: what both paths start from.
        source: the folder.
        target: where there is none yet.
        manifest: the file by which readers see that the folder is whole: copied last, deleted first.

    Raises:
        StorageError: it cannot be moved, or not all of it can be deleted.
    """
    fs, name = file_io.filesystem(join(output, source))
    _, target_name = file_io.filesystem(join(output, target))
    with file_io.storage_errors(join(output, target)):
        if isinstance(fs, LocalFileSystem):
            file_io.make_folder(os.path.dirname(target_name))
            os.rename(name, target_name)
            for folder in {os.path.dirname(target_name), os.path.dirname(name)}:
                file_io.sync(folder)
            return
        file_io.write_bytes(join(output, target, COPYING), source.encode())
        last = join(name, manifest)
        names = [path for path in file_io.keys_in(fs, name) if path not in (last, join(name, COPYING))]
        for some in (names, [last] if fs.exists(last) else []):
            file_io.each_key(fs.cp_file, some, [target_name + path.removeprefix(name) for path in some])
        file_io.write_bytes(join(output, source, MOVED), target.encode())
    settle(output, source, manifest)


def settle(output: str, folder: str, manifest: str) -> None:
    """End or undo what a kill left of moving a folder to there or from there."""
    fs, _ = file_io.filesystem(output)
    if isinstance(fs, LocalFileSystem):
        return
    if target := file_io.read_if_there(join(output, folder, MOVED)):
        file_io.delete_file(join(output, target.decode(), COPYING))
        _delete(fs, join(output, folder), manifest, MOVED)
    elif source := file_io.read_if_there(join(output, folder, COPYING)):
        if file_io.exists(join(output, source.decode(), MOVED)):
            settle(output, source.decode(), manifest)
        else:
            _delete(fs, join(output, folder), manifest, COPYING)


def _delete(fs: Any, folder: str, first: str, last: str) -> None:
    """Delete a folder, with a file of it before and one after all others."""
    _, name = file_io.filesystem(folder)
    with file_io.storage_errors(folder):
        turns = {join(name, first): 0, join(name, last): 2}
        names = file_io.keys_in(fs, name)
        for turn in range(3):
            file_io.delete_keys(fs, [path for path in names if turns.get(path, 1) == turn])

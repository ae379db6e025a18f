"""Moves folders of an output: a kill at any moment leaves one complete folder, and `settle` finds it.

On local disk a move is one step. In a bucket all files are copied, with a mark in the target; then the
source is marked as moved, and its files are deleted. Until that mark the source counts, and from then on
the target. Marks hold paths relative to the output, so that a copy of an output refers to itself.
"""

import os
from typing import Any

from fsspec.implementations.local import LocalFileSystem

from factory.storage import file_io
from factory.storage.bucket_keys import delete_keys, list_keys, map_keys
from factory.storage.file_io import join
from factory.storage.local_files import make_folder, sync

COPYING = ".copying"
"""In a folder that another one is being copied to; it holds the path of that one."""
MOVED = ".moved"
"""In a folder whose files have all been copied; it holds the path that they were copied to."""


def move_folder(output: str, source: str, target: str, manifest: str) -> None:
    """Move a folder with all its content.

    Args:
        output: the folder that both paths are relative to.
        source: the folder.
        target: its new path, where no folder exists yet.
        manifest: the file that marks the folder as complete for readers: copied last, deleted first.

    Raises:
        StorageError: it cannot be moved, or not all of it can be deleted.
    """
    fs, name = file_io.filesystem(join(output, source))
    _, target_name = file_io.filesystem(join(output, target))
    with file_io.storage_errors(join(output, target)):
        if isinstance(fs, LocalFileSystem):
            make_folder(os.path.dirname(target_name))
            os.rename(name, target_name)
            for folder in {os.path.dirname(target_name), os.path.dirname(name)}:
                sync(folder)
            return
        file_io.write_bytes(join(output, target, COPYING), source.encode())
        last = join(name, manifest)
        keys = [key for key in list_keys(fs, name) if key not in (last, join(name, COPYING))]
        for batch in (keys, [last] if fs.exists(last) else []):
            map_keys(fs.cp_file, batch, [target_name + key.removeprefix(name) for key in batch])
        file_io.write_bytes(join(output, source, MOVED), target.encode())
    settle(output, source, manifest)


def settle(output: str, folder: str, manifest: str) -> None:
    """Finish or undo an interrupted move of a folder, whether it is the source or the target."""
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
    """Delete a folder, with the given files before and after all others."""
    _, name = file_io.filesystem(folder)
    with file_io.storage_errors(folder):
        rounds = {join(name, first): 0, join(name, last): 2}
        keys = list_keys(fs, name)
        for number in range(3):
            delete_keys(fs, [key for key in keys if rounds.get(key, 1) == number])

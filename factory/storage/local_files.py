"""Local files and folders that survive a kill and a loss of power."""

import errno
import os
import uuid
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

DRAFT = ".tmp"
"""Suffix of local files that are not complete."""
CREATE_ATTEMPTS = 10
"""At a file in a local folder that other processes may delete meanwhile."""


def replace_file(path: str, data: bytes) -> None:
    """Write a file under a temporary name and rename it into place."""
    folder, file_name = os.path.split(path)
    # Readers of a folder of Parquet files skip names that begin with a dot, and a kill may leave it there.
    draft = f"{folder}/.{file_name.removeprefix('.')}.{uuid.uuid4().hex}{DRAFT}"
    try:
        with _create(draft) as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, path)
        sync(folder)
    except BaseException:
        Path(draft).unlink(missing_ok=True)
        raise


def _create(path: str) -> BinaryIO:
    """Open a new file in a folder that another process may be deleting just now (`check_writable`)."""
    for left in reversed(range(CREATE_ATTEMPTS)):
        try:
            make_folder(os.path.dirname(path))
            return open(path, "wb")
        except FileNotFoundError:
            if not left:  # a folder such as /proc, in which none can be created
                raise
    raise AssertionError


def make_folder(folder: str) -> None:
    """Create a local folder and its parents, so that they survive a loss of power."""
    if os.path.isdir(folder):
        return
    make_folder(os.path.dirname(folder))
    try:
        os.mkdir(folder)
    except FileExistsError:
        if os.path.lexists(folder) and not os.path.isdir(folder):  # also a broken link
            raise
    with suppress(FileNotFoundError):  # another process deletes it (`check_writable`)
        sync(os.path.dirname(folder))


def sync(path: str) -> None:
    """Flush a local file, or the names in a folder, so that they survive a loss of power."""
    try:
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as problem:  # a folder that may not be read, or a file system that cannot do this for folders
        if problem.errno not in (errno.EACCES, errno.EPERM, errno.EINVAL, errno.ENOTSUP):
            raise

"""Exact keys of a bucket: listed, copied and deleted without patterns."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Any

from factory.errors import StorageError

MAX_CONCURRENCY = 16
"""How many objects of a bucket are read, copied or deleted at the same time."""


def check_key(path: str) -> None:
    """Refuse keys that a bucket's client sends in another form.

    Raises:
        StorageError: it drops `?versionId=` with what follows, and resolves `.` and `..` as a browser does.
    """
    if "?versionId=" in path or not {".", ".."}.isdisjoint(path.partition("://")[2].split("/")):
        raise StorageError(f"{path}: a bucket's path may hold no '?versionId=', and no folder '.' or '..'; rename it")


def is_file_in(prefix: str, key: str) -> bool:
    """Return whether a listed key is a file below a prefix: not the key of a folder, which consoles create."""
    return key.startswith(prefix) and not key.endswith("/")


def list_keys(fs: Any, folder: str) -> list[str]:
    """List the keys of all files below a folder of a bucket."""
    prefix = f"{folder.rstrip('/')}/"
    return [key for key in fs.find(folder) if is_file_in(prefix, key)]


def map_keys(function: Callable[..., Any], *keys: Sequence[str]) -> list[Any]:
    """Call a function with exact keys of a bucket, several at the same time."""
    with ThreadPoolExecutor(MAX_CONCURRENCY) as pool:
        return list(pool.map(function, *keys))


def delete_keys(fs: Any, keys: Sequence[str]) -> None:
    """Delete exact keys of a bucket: `rm` reads `?`, `*` and `[` as patterns, and ignores what S3 refuses.

    Raises:
        PermissionError: some cannot be deleted.
    """
    were_refused = map_keys(partial(_is_refused, fs), keys)
    refused = [key for key, was_refused in zip(keys, were_refused, strict=True) if was_refused]
    if refused:
        raise PermissionError(f"{len(refused)} of {len(keys)} files cannot be deleted, {refused[0]} among them")


def _is_refused(fs: Any, key: str) -> bool:
    try:
        with suppress(FileNotFoundError):
            fs.rm_file(key)
    except PermissionError:
        return True
    return False

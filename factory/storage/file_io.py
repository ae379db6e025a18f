"""Whole files on local disk, S3, Google Cloud Storage and the other file systems of fsspec.

Writes are atomic: local files are renamed into place, objects are written in one request. S3 reads the
usual AWS environment variables (AWS_ENDPOINT_URL included); Google Cloud uses the machine's account.
"""

import errno
import json
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem

from factory.errors import StorageError
from factory.storage.bucket_keys import check_key, delete_keys, is_file_in
from factory.storage.local_files import make_folder, replace_file, sync

PROBE = ".writable-"
BUCKETS = ("s3://", "gs://")
CLIENTS = ("botocore", "aiobotocore", "gcsfs", "google")
"""The packages whose exceptions are storage errors."""
ATTEMPTS = 9
"""At a request of S3, with up to 1, 2, 4 and so on to 20 s between them: most outages of half a minute pass."""


def filesystem(path: str, attempts: int = ATTEMPTS) -> tuple[Any, str]:
    """Return the fsspec file system of a path, and the path in the form of that file system.

    Args:
        path: local or with a protocol.
        attempts: at each request of S3, unless AWS_MAX_ATTEMPTS is set.
    """
    if "://" not in path:
        return LocalFileSystem(), str(LocalFileSystem._strip_protocol(path))
    if not path.startswith(BUCKETS):
        fs, name = fsspec.core.url_to_fs(path)
        return fs, str(name)
    check_key(path)
    # Other processes write what we list, so a listing must never come out of a cache.
    options: dict[str, Any] = {"use_listings_cache": False}
    if path.startswith("s3://") and "AWS_MAX_ATTEMPTS" not in os.environ:
        options["config_kwargs"] = {"retries": {"mode": "standard", "total_max_attempts": attempts}}
    # Not `url_to_fs`: it takes `::` in a key for a chain of file systems, and `#7` at the end for a version.
    fs = fsspec.filesystem(path.partition("://")[0], **options)
    return fs, str(fs._strip_protocol(path))


def join(base: str, *parts: str) -> str:
    """Join the parts of a path, local or with a protocol."""
    return "/".join([base.rstrip("/"), *parts])


def exists(path: str) -> bool:
    """Return whether there is a file or folder."""
    fs, name = filesystem(path)
    with storage_errors(path):
        return bool(fs.exists(name))


def size(path: str) -> int:
    """Return the size of a file in bytes."""
    fs, name = filesystem(path)
    with storage_errors(path):
        return int(fs.info(name)["size"] or 0)


def sizes(folder: str) -> dict[str, int]:
    """Return the bytes of every file in and below a folder, by its path from there; one listing on S3."""
    fs, name = filesystem(folder)
    with storage_errors(folder):
        found = fs.find(name, detail=True)
    prefix = f"{name.rstrip('/')}/"
    return {
        path.removeprefix(prefix): int(info["size"] or 0)
        for path, info in sorted(found.items())
        if is_file_in(prefix, path)
    }


def list_names(folder: str, suffix: str) -> list[str]:
    """Return the sorted names directly in a folder that end in `suffix`; none if there is no folder."""
    fs, name = filesystem(folder)
    with storage_errors(folder):
        if not fs.exists(name):
            return []
        entries = (entry.rstrip("/") for entry in fs.ls(name, detail=False))
        names = (entry.rsplit("/", 1)[-1] for entry in entries if entry != name.rstrip("/"))
        return sorted(entry for entry in names if entry.endswith(suffix))


def read_bytes(path: str) -> bytes:
    """Return the content of a file."""
    fs, name = filesystem(path)
    with storage_errors(path):
        return bytes(fs.cat_file(name))


def read_tail(path: str, length: int) -> tuple[int, bytes]:
    """Return the size of a file, and its last bytes; two small requests on S3."""
    fs, name = filesystem(path)
    with storage_errors(path):
        total = int(fs.info(name)["size"] or 0)
        return total, bytes(fs.cat_file(name, start=max(0, total - length), end=total)) if total else b""


def read_ranges(paths: list[str], starts: list[int], ends: list[int]) -> list[bytes]:
    """Return the bytes from `starts` to `ends` of files of one storage, with one request each, many at a time."""
    if not paths:
        return []
    fs, _ = filesystem(paths[0])
    with storage_errors(os.path.dirname(paths[0])):
        names = [str(fs._strip_protocol(path)) for path in paths]
        return [bytes(data) for data in fs.cat_ranges(names, starts, ends, on_error="raise")]


def read_if_there(path: str) -> bytes | None:
    """Return the content of a file that other processes may delete, or None if there is none."""
    fs, name = filesystem(path)
    with storage_errors(path), suppress(FileNotFoundError):
        return bytes(fs.cat_file(name))
    return None


def read_document(path: str) -> dict[str, Any] | None:
    """Return a JSON object, or None if there is no file or it holds something else."""
    try:
        content = json.loads(read_if_there(path) or b"null")
    except (ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None


def write_bytes(path: str, data: bytes) -> None:
    """Write a file, replacing an existing one; a kill at any moment leaves the old or the new one.

    Raises:
        StorageError: it cannot be written.
    """
    with storage_errors(path):
        _write(path, data)


def _write(path: str, data: bytes) -> None:
    fs, name = filesystem(path)
    if isinstance(fs, LocalFileSystem):
        replace_file(name, data)
    else:
        fs.pipe_file(name, data)


def create_bytes(path: str, data: bytes) -> bool:
    """Create a file if absent; returns True for exactly one of several concurrent writers.

    Not meant for local disk, which has locks.
    """
    fs, name = filesystem(path)
    with storage_errors(path):
        try:
            fs.pipe_file(name, data, mode="create")
        except OSError as problem:
            if problem.errno == errno.ENOSYS:
                fs.pipe_file(name, data)  # a store without conditional writes
            elif fs.exists(name):  # stores report it in various ways
                return False
            else:
                raise
    return True


def put_file(local: str, path: str) -> None:
    """Move a local file, of any size, to its destination; on the same disk it is renamed."""
    fs, name = filesystem(path)
    with storage_errors(path):
        if isinstance(fs, LocalFileSystem):
            make_folder(os.path.dirname(name))
            shutil.move(local, name)
            sync(name)
            sync(os.path.dirname(name))
        else:
            fs.put_file(local, name)
            os.unlink(local)


def get_file(path: str, local: str) -> None:
    """Copy a file, of any size, to this machine; a local file is linked where possible."""
    fs, name = filesystem(path)
    with storage_errors(path):
        if isinstance(fs, LocalFileSystem):
            with suppress(OSError):
                os.link(name, local)
                return
        fs.get_file(name, local)


def delete_file(path: str) -> None:
    """Delete a file, if there is one."""
    fs, name = filesystem(path)
    with storage_errors(path), suppress(FileNotFoundError):
        fs.rm_file(name)  # not `rm`: it ignores what S3 refuses to delete


def delete_folder(folder: str) -> None:
    """Delete a folder with all its content, if there is one.

    Raises:
        StorageError: not all of it can be deleted.
    """
    fs, name = filesystem(folder)
    with storage_errors(folder):
        if not isinstance(fs, LocalFileSystem):
            prefix = f"{name.rstrip('/')}/"
            delete_keys(fs, [path for path in fs.find(name) if path.startswith(prefix)])
        elif os.path.isdir(name):
            shutil.rmtree(name)


def check_writable(folder: str) -> None:
    """Write and delete a small file, so that a run fails before it costs anything.

    Raises:
        StorageError: the folder cannot be written.
    """
    probe = join(folder, f"{PROBE}{uuid.uuid4().hex}")
    try:
        fs, name = filesystem(probe, attempts=3)  # a mistyped address need not cost a long wait
    except (ValueError, ImportError) as problem:  # fsspec has no such protocol
        raise StorageError(f"output {folder}: {problem}; give a local folder, s3:// or gs://bucket/prefix") from None
    with storage_errors(f"output {folder}"):
        _write(probe, b"")
        fs.rm_file(name)
    if isinstance(fs, LocalFileSystem):
        with suppress(OSError):  # it is not empty
            os.rmdir(os.path.dirname(name))


@contextmanager
def storage_errors(path: str) -> Iterator[None]:
    """Convert storage exceptions to a one-line StorageError with path and remedy."""
    try:
        yield
    except OSError as problem:
        raise StorageError(f"{path}: {_reason(problem, path)}") from None
    except Exception as problem:  # the exceptions of object stores' clients share no base with OSError
        is_client = type(problem).__module__.partition(".")[0] in CLIENTS
        if not is_client and "Invalid endpoint" not in str(problem):
            raise
        raise StorageError(f"{path}: {_reason(problem, path)}") from None


def _reason(problem: Exception, path: str) -> str:
    text = " ".join(str(problem).split()) or type(problem).__name__
    if isinstance(problem, OSError) and problem.strerror:
        other = str(problem.filename or "")
        text = str(problem.strerror) if other in path or PROBE in other else f"{problem.strerror}: {other}"
    if isinstance(problem, OSError) and problem.errno in (errno.ENOSPC, errno.EDQUOT):
        return "the disk is full; free some space and run the same command again, it resumes where it stopped"
    if "NoCredentials" in type(problem).__name__ or "Unable to locate credentials" in text:
        return "no AWS credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE or a role"
    if "bucket does not exist" in text or "NoSuchBucket" in text:
        return "the bucket does not exist; create it or name another"
    if "endpoint" in text:
        return f"{text}; check AWS_ENDPOINT_URL (http://host:port) and the network"
    if isinstance(problem, PermissionError):
        return f"no permission ({text}); choose another path or change its rights"
    if isinstance(problem, (NotADirectoryError, FileExistsError)):
        return "there is a file where a folder is needed; choose another path"
    if isinstance(problem, OSError) and problem.errno in (errno.ENOENT, errno.EROFS, errno.ENAMETOOLONG, errno.EINVAL):
        return f"{text}; choose another path"
    return text

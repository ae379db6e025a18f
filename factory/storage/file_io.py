"""Files on local disk, S3, Google Cloud Storage and whatever else fsspec knows: whole files in, whole files out.

A file is there whole or not at all: local files are renamed into place, objects are put in one
request. S3 takes the usual AWS environment (AWS_ENDPOINT_URL included), Google's the machine's account.
"""

import errno
import glob
import json
import os
import shutil
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import fsspec
from fsspec.implementations.local import LocalFileSystem

from factory.errors import StorageError
from factory.resources import RESOURCES

PROBE = ".writable-"
DRAFT = ".tmp"
"""How the names of local files end that are not whole."""
BUCKETS = ("s3://", "gs://")
CLIENTS = ("botocore", "aiobotocore", "gcsfs", "google")
"""The packages whose errors tell of storage."""
ATTEMPTS = 9
"""At a request of S3, with up to 1, 2, 4 and so on to 20 s between them: most outages of half a minute pass."""
CREATE_ATTEMPTS = 10
"""At a file in a local folder that others may clear away meanwhile."""
AT_ONCE = 16
"""So many objects of a bucket are copied or deleted at the same time."""


def filesystem(path: str, attempts: int = ATTEMPTS) -> tuple[Any, str]:
    """The fsspec file system of a path and the path as that system names it.

    Args:
        path: local or with a protocol.
        attempts: how often S3 is asked, where AWS_MAX_ATTEMPTS does not say.
    """
    if "://" not in path:
        return LocalFileSystem(), str(LocalFileSystem._strip_protocol(path))
    if not path.startswith(BUCKETS):
        fs, name = fsspec.core.url_to_fs(path)
        return fs, str(name)
    _check_key(path)
    # Other processes write what we list, so a listing must never come out of a cache.
    options: dict[str, Any] = {"use_listings_cache": False}
    if path.startswith("s3://") and "AWS_MAX_ATTEMPTS" not in os.environ:
        options["config_kwargs"] = {"retries": {"mode": "standard", "total_max_attempts": attempts}}
    # Not `url_to_fs`: it takes `::` in a key for a chain of file systems, and `#7` at the end for a version.
    fs = fsspec.filesystem(path.partition("://")[0], **options)
    return fs, str(fs._strip_protocol(path))


def _check_key(path: str) -> None:
    """Refuse keys for which a bucket's client sends others.

    Raises:
        StorageError: it drops `?versionId=` with what follows, and resolves `.` and `..` as a browser does.
    """
    if "?versionId=" in path or not {".", ".."}.isdisjoint(path.partition("://")[2].split("/")):
        raise StorageError(f"{path}: a bucket's path may hold no '?versionId=', and no folder '.' or '..'; rename it")


def join(base: str, *parts: str) -> str:
    """Put a path together, local or with a protocol."""
    return "/".join([base.rstrip("/"), *parts])


def input_path(path: str) -> str:
    """Make a local input path absolute: from the current folder, else from the project's own.

    So the shipped configs work from any folder, and workers elsewhere mean the same file.
    """
    if "://" in path:
        return path
    path = os.path.expanduser(path)
    here, shipped = (os.path.join(folder, path) for folder in (Path.cwd(), RESOURCES))
    return shipped if not _found(here) and _found(shipped) else here


def _found(path: str) -> bool:
    return os.path.exists(path) or any(True for _ in glob.iglob(path, recursive=True))


def output_path(path: str) -> str:
    """Make a local output path absolute.

    A submitted job runs in a copy of the project that is thrown away, so a relative output goes to
    the folder in FACTORY_OUTPUTS, else to the home folder of the machine that the job runs on.
    """
    if "://" in path:
        return path
    submitted = "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ
    folder = os.environ.get("FACTORY_OUTPUTS") or (Path.home() if submitted else Path.cwd())
    return str(Path(folder) / os.path.expanduser(path))


def exists(path: str) -> bool:
    """Whether there is a file or folder."""
    fs, name = filesystem(path)
    with storage_errors(path):
        return bool(fs.exists(name))


def size(path: str) -> int:
    """Bytes of a file."""
    fs, name = filesystem(path)
    with storage_errors(path):
        return int(fs.info(name)["size"] or 0)


def sizes(folder: str) -> dict[str, int]:
    """Bytes of every file in a folder and below it, by its path from there; on S3 one listing."""
    fs, name = filesystem(folder)
    with storage_errors(folder):
        found = fs.find(name, detail=True)
    inside = f"{name.rstrip('/')}/"
    return {
        path.removeprefix(inside): int(info["size"] or 0)
        for path, info in sorted(found.items())
        if _is_file_in(inside, path)
    }


def _is_file_in(inside: str, path: str) -> bool:
    """Whether a listed key is a file in a folder: not the key of the folder itself, nor a console's mark of one."""
    return path.startswith(inside) and not path.endswith("/")


def read_bytes(path: str) -> bytes:
    """The whole of a file."""
    fs, name = filesystem(path)
    with storage_errors(path):
        return bytes(fs.cat_file(name))


def read_if_there(path: str) -> bytes | None:
    """The whole of a file that others may delete; None where there is none."""
    fs, name = filesystem(path)
    with storage_errors(path), suppress(FileNotFoundError):
        return bytes(fs.cat_file(name))
    return None


def read_document(path: str) -> dict[str, Any] | None:
    """Read a JSON object; None where there is no file, or one that holds something else."""
    try:
        content = json.loads(read_if_there(path) or b"null")
    except (ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None


def write_bytes(path: str, data: bytes) -> None:
    """Write a whole file, over what was there; a kill at any moment leaves the old or the new one.

    Raises:
        StorageError: it cannot be written.
    """
    with storage_errors(path):
        _write(path, data)


def _write(path: str, data: bytes) -> None:
    fs, name = filesystem(path)
    if not isinstance(fs, LocalFileSystem):
        fs.pipe_file(name, data)
        return
    folder, file_name = os.path.split(name)
    # Readers of a folder of Parquet files pass over names that begin so, and a kill may leave it there.
    draft = f"{folder}/.{file_name.removeprefix('.')}.{uuid.uuid4().hex}{DRAFT}"
    try:
        with _created(draft) as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, name)
        sync(folder)
    except BaseException:
        Path(draft).unlink(missing_ok=True)
        raise


def sync(path: str) -> None:
    """Have what was written to a local file, or the names in a folder, survive a loss of power."""
    try:
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as problem:  # a folder that may not be read, or a file system that cannot do this for folders
        if problem.errno not in (errno.EACCES, errno.EPERM, errno.EINVAL, errno.ENOTSUP):
            raise


def make_folder(folder: str) -> None:
    """Make a local folder with those above it, so that it survives a loss of power."""
    if os.path.isdir(folder):
        return
    make_folder(os.path.dirname(folder))
    try:
        os.mkdir(folder)
    except FileExistsError:
        if os.path.lexists(folder) and not os.path.isdir(folder):  # also a link to where nothing is
            raise
    with suppress(FileNotFoundError):  # another process clears it away (`check_writable`)
        sync(os.path.dirname(folder))


def create_bytes(path: str, data: bytes) -> bool:
    """Write a whole file where there is none; of several writers, one is told that it did.

    Local disk is not asked for this: it has locks.
    """
    fs, name = filesystem(path)
    with storage_errors(path):
        try:
            fs.pipe_file(name, data, mode="create")
        except OSError as problem:
            if problem.errno == errno.ENOSYS:
                fs.pipe_file(name, data)  # a store that knows no conditional writes
            elif fs.exists(name):  # stores tell of it in various ways
                return False
            else:
                raise
    return True


def _created(path: str) -> BinaryIO:
    """Open a new file in a folder that another process may just be clearing away (`check_writable`)."""
    for left in reversed(range(CREATE_ATTEMPTS)):
        try:
            make_folder(os.path.dirname(path))
            return open(path, "wb")
        except FileNotFoundError:
            if not left:  # a place such as /proc, which takes no folder
                raise
    raise AssertionError


def list_names(folder: str, suffix: str) -> list[str]:
    """The sorted names of the files right in a folder that end in `suffix`; none where there is no folder."""
    fs, name = filesystem(folder)
    with storage_errors(folder):
        if not fs.exists(name):
            return []
        there = (entry.rstrip("/") for entry in fs.ls(name, detail=False))
        names = (entry.rsplit("/", 1)[-1] for entry in there if entry != name.rstrip("/"))
        return sorted(entry for entry in names if entry.endswith(suffix))


def put_file(local: str, path: str) -> None:
    """Move a local file, of any size, to its place; on one disk it is renamed."""
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
    """Bring a file, of any size, to this machine; one that is on it is linked where that can be."""
    fs, name = filesystem(path)
    with storage_errors(path):
        if isinstance(fs, LocalFileSystem):
            with suppress(OSError):
                os.link(name, local)
                return
        fs.get_file(name, local)


def delete_file(path: str) -> None:
    """Delete a file; none there is fine."""
    fs, name = filesystem(path)
    with storage_errors(path), suppress(FileNotFoundError):
        fs.rm_file(name)  # not `rm`: it passes over what S3 refuses to delete


def delete_folder(folder: str) -> None:
    """Delete a folder with all that it holds; none there is fine.

    Raises:
        StorageError: not all of it can be deleted.
    """
    fs, name = filesystem(folder)
    with storage_errors(folder):
        if not isinstance(fs, LocalFileSystem):
            inside = f"{name.rstrip('/')}/"
            delete_keys(fs, [path for path in fs.find(name) if path.startswith(inside)])
        elif os.path.isdir(name):
            shutil.rmtree(name)


def keys_in(fs: Any, folder: str) -> list[str]:
    """List the keys of all files below a folder of a bucket."""
    inside = f"{folder.rstrip('/')}/"
    return [path for path in fs.find(folder) if _is_file_in(inside, path)]


def delete_keys(fs: Any, names: Sequence[str]) -> None:
    """Delete exact keys of a bucket: `rm` takes `?`, `*` and `[` for patterns, and passes over what S3 refuses.

    Raises:
        PermissionError: some cannot be deleted.
    """
    refused = [
        path for path, was_refused in zip(names, each_key(partial(_is_refused, fs), names), strict=True) if was_refused
    ]
    if refused:
        raise PermissionError(f"{len(refused)} of {len(names)} files cannot be deleted, {refused[0]} among them")


def _is_refused(fs: Any, name: str) -> bool:
    try:
        with suppress(FileNotFoundError):
            fs.rm_file(name)
    except PermissionError:
        return True
    return False


def each_key(act: Callable[..., Any], *names: Sequence[str]) -> list[Any]:
    """Do something to exact keys of a bucket, some of them at the same time."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(act, *names))


def check_writable(folder: str) -> None:
    """Write and delete a small file, so that a run fails before it costs anything.

    Raises:
        StorageError: the folder cannot be written, in words that say why.
    """
    probe = join(folder, f"{PROBE}{uuid.uuid4().hex}")
    try:
        fs, name = filesystem(probe, attempts=3)  # who has mistyped an address need not wait
    except (ValueError, ImportError) as problem:  # what fsspec says of a protocol that it does not know
        raise StorageError(f"output {folder}: {problem}; give a local folder, s3:// or gs://bucket/prefix") from None
    with storage_errors(f"output {folder}"):
        _write(probe, b"")
        fs.rm_file(name)
    if isinstance(fs, LocalFileSystem):
        with suppress(OSError):  # it holds something
            os.rmdir(os.path.dirname(name))


@contextmanager
def storage_errors(path: str) -> Iterator[None]:
    """Tell what storage raises as one line that names the path and the way out."""
    try:
        yield
    except OSError as problem:
        raise StorageError(f"{path}: {_reason(problem, path)}") from None
    except Exception as problem:  # the errors of object stores' clients share no base with OSError
        told = "Invalid endpoint" in str(problem)
        if not told and type(problem).__module__.partition(".")[0] not in CLIENTS:
            raise
        raise StorageError(f"{path}: {_reason(problem, path)}") from None


def _reason(problem: Exception, path: str) -> str:
    text = " ".join(str(problem).split()) or type(problem).__name__
    if isinstance(problem, OSError) and problem.strerror:
        other = str(problem.filename or "")
        text = str(problem.strerror) if other in path or PROBE in other else f"{problem.strerror}: {other}"
    if isinstance(problem, OSError) and problem.errno in (errno.ENOSPC, errno.EDQUOT):
        return "the disk is full; free some space and run the same command again, it goes on where it stopped"
    if "NoCredentials" in type(problem).__name__ or "Unable to locate credentials" in text:
        return "no AWS credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE or a role"
    if "bucket does not exist" in text or "NoSuchBucket" in text:
        return "the bucket does not exist; create it or name another"
    if "endpoint" in text:
        return f"{text}; check AWS_ENDPOINT_URL (http://host:port) and the network"
    if isinstance(problem, PermissionError):
        return f"no permission ({text}); choose another path or change its rights"
    if isinstance(problem, (NotADirectoryError, FileExistsError)):
        return "a file stands where a folder is needed; choose another path"
    if isinstance(problem, OSError) and problem.errno in (errno.ENOENT, errno.EROFS, errno.ENAMETOOLONG, errno.EINVAL):
        return f"{text}; choose another path"
    return text

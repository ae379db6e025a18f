"""Files on local disk, S3, Google Cloud Storage and whatever else fsspec knows: whole files in, whole files out.

A file is there whole or not at all: local files are renamed into place, objects are put in one
request. S3 takes the usual AWS environment (AWS_ENDPOINT_URL included), Google's the machine's account.
"""

import errno
import glob
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

import fsspec
from fsspec.implementations.local import LocalFileSystem

from factory.errors import StorageError

PROJECT = Path(__file__).parent.parent
PROBE = ".writable-"
BUCKETS = ("s3://", "gs://")
CLIENTS = ("botocore", "aiobotocore", "gcsfs", "google")
"""The packages whose errors tell of storage."""
ATTEMPTS = 9
"""At a request of S3, with up to 1, 2, 4 and so on to 20 s between them: most outages of half a minute pass."""


def filesystem(path: str, attempts: int = ATTEMPTS) -> tuple[Any, str]:
    """The fsspec file system of a path and the path as that system names it.

    Args:
        path: local or with a protocol.
        attempts: how often S3 is asked, where AWS_MAX_ATTEMPTS does not say.
    """
    # Other processes write what we list, so a listing must never come out of a cache.
    options: dict[str, Any] = {"use_listings_cache": False} if path.startswith(BUCKETS) else {}
    if path.startswith("s3://") and "AWS_MAX_ATTEMPTS" not in os.environ:
        options["config_kwargs"] = {"retries": {"mode": "standard", "total_max_attempts": attempts}}
    fs, name = fsspec.core.url_to_fs(path, **options)
    return fs, str(name)


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
    here, shipped = (os.path.join(folder, path) for folder in (Path.cwd(), PROJECT))
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
    return {path[len(name.rstrip("/")) + 1 :]: int(info["size"] or 0) for path, info in sorted(found.items())}


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
    draft = f"{name}.{uuid.uuid4().hex}.tmp"
    try:
        with _created(draft) as file:
            file.write(data)
        os.replace(draft, name)
    except BaseException:
        Path(draft).unlink(missing_ok=True)
        raise


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
    while True:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        try:
            return open(path, "wb")
        except FileNotFoundError:
            continue


def list_names(folder: str, suffix: str) -> list[str]:
    """The sorted names of the files right in a folder that end in `suffix`; none where there is no folder."""
    fs, name = filesystem(folder)
    with storage_errors(folder):
        if not fs.exists(name):
            return []
        names = (entry.rstrip("/").rsplit("/", 1)[-1] for entry in fs.ls(name, detail=False))
        return sorted(entry for entry in names if entry.endswith(suffix))


def put_file(local: str, path: str) -> None:
    """Move a local file, of any size, to its place; on one disk it is renamed."""
    fs, name = filesystem(path)
    with storage_errors(path):
        if isinstance(fs, LocalFileSystem):
            os.makedirs(os.path.dirname(name), exist_ok=True)
            shutil.move(local, name)
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


def move_folder(source: str, target: str, first: str, last: str = "") -> None:
    """Move a folder with all that it holds (on S3 a copy on the server, then a deletion).

    Args:
        source: the folder.
        target: where there is none yet.
        first: the file that says that the folder is whole; a kill that leaves half of one leaves it without.
        last: the file that says what the folder is; a kill leaves no rest of one without.

    Raises:
        StorageError: it cannot be moved, or not all of it can be deleted.
    """
    fs, name = filesystem(source)
    _, target_name = filesystem(target)
    with storage_errors(target):
        if isinstance(fs, LocalFileSystem):
            os.makedirs(os.path.dirname(target_name), exist_ok=True)
            os.replace(name, target_name)
        else:
            # Not `mv`: of a folder it copies the key of the folder itself too, which is not there.
            names = fs.find(name)
            fs.copy(names, [target_name + path.removeprefix(name) for path in names])
            turns = {join(name, first): 0, join(name, last): 2}
            for turn in range(3):
                _delete(fs, name, [path for path in names if turns.get(path, 1) == turn])


def delete_folder(folder: str) -> None:
    """Delete a folder with all that it holds; none there is fine.

    Raises:
        StorageError: not all of it can be deleted.
    """
    fs, name = filesystem(folder)
    with storage_errors(folder):
        if not isinstance(fs, LocalFileSystem):
            _delete(fs, name, fs.find(name))
        elif fs.exists(name):
            fs.rm(name, recursive=True)


def _delete(fs: Any, folder: str, names: list[str]) -> None:
    """Delete objects of a folder, and see that they are gone: `rm` passes over what S3 refuses to delete."""
    if not names:
        return
    fs.rm(names)
    if kept := sorted(set(names).intersection(fs.find(folder))):
        raise PermissionError(f"{len(kept)} of {len(names)} files cannot be deleted, {kept[0]} among them")


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

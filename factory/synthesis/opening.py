"""Opening user files: formats and compression, decompressed bytes, and errors in one line."""

import io
import os
import textwrap
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from factory.errors import InputError, UnreachableError
from factory.storage import file_io

FORMATS = (".jsonl", ".ndjson", ".json", ".csv", ".txt")
COMPRESSIONS = {".gz": "gzip", ".zst": "zstd"}

ANSWER_TIMEOUT_S = 12.0
"""Time in which remote storage must answer at all, because its clients may retry for minutes."""
REQUEST_BYTES = 2**23
"""Size of one request to remote storage."""


def known_formats(also: Collection[str] = ()) -> str:
    """Return the formats of files for a message."""
    rest = " and ".join([".parquet", *also])
    return f"known are {', '.join(FORMATS)} (each also with {' or '.join(COMPRESSIONS)}) and {rest}"


def suffixes(path: str, also: Collection[str] = ()) -> tuple[str, str]:
    """Return the suffixes of format and compression; the first is "" where the format is unknown.

    `also` are formats without compression that are known besides those of tables.
    """
    stem, compression = os.path.splitext(path.lower())
    if compression not in COMPRESSIONS:
        stem, compression = path.lower(), ""
    suffix = os.path.splitext(stem)[1]
    known = suffix in FORMATS or (suffix in (".parquet", *also) and not compression)
    return (suffix if known else ""), compression


@dataclass(frozen=True, order=True)
class SourceFile(os.PathLike[str]):
    """A file of a source, as its listing describes it."""

    path: str
    size: int
    changed: str
    """Its ETag, or the time of its last change."""

    def __fspath__(self) -> str:
        return self.path


@contextmanager
def opened(file: str | os.PathLike[str], also: Collection[str] = ()) -> Iterator[Any]:
    """Open a file and yield its decompressed bytes, as an io.BufferedReader; `also` as in `suffixes`."""
    path = os.fspath(file)
    suffix, compression = suffixes(path, also)
    if not suffix:
        raise InputError(f"{path}: not a known format; {known_formats(also)}")
    fs, name = file_io.filesystem(path)
    small = isinstance(file, SourceFile) and file.size <= REQUEST_BYTES and path.startswith("s3://")
    with input_errors(path), _fetched(fs, name) if small else fs.open(name, "rb", cache_type="none") as source:
        data = io.BufferedReader(source, REQUEST_BYTES)
        if compression:
            # Not the zstandard package, which takes the end of an incomplete file for the end of the data.
            data = io.BufferedReader(pa.CompressedInputStream(data, COMPRESSIONS[compression]), REQUEST_BYTES)
        yield data


def _fetched(fs: Any, name: str) -> io.BytesIO:
    """Read a small object in one request; opening it, or reading it in parts, needs one more."""
    return io.BytesIO(fs.cat_file(name, max_concurrency=1))


@contextmanager
def input_errors(path: str) -> Iterator[None]:
    """Convert the exceptions of reading to one-line errors with the path and the remedy."""
    with file_io.storage_errors(path):
        try:
            yield
        except Exception as problem:
            message = one_line(problem)
            if is_no_answer(problem):
                why = message or f"nothing within {ANSWER_TIMEOUT_S:.0f} s"
                remedy = "check the network, or name a local copy"
                raise UnreachableError(f"{path}: no answer ({why}); {remedy}") from None
            if isinstance(problem, FileNotFoundError) and "bucket does not exist" not in message:
                raise InputError(f"{path}: does not exist; name another file") from None
            # Arrow raises a bare OSError for data that it cannot decompress; an OSError of a disk has a number.
            bare = type(problem) is OSError and problem.errno is None
            if not bare and not isinstance(problem, pa.ArrowException):
                raise
            suffix, compression = suffixes(path)
            kind = COMPRESSIONS.get(compression, suffix[1:])
            raise InputError(f"{path}: is damaged or not {kind}; download it again ({message})") from None


def is_no_answer(problem: BaseException | None) -> bool:
    """Return whether remote storage did not answer; the clients' errors share names but no class."""
    names = {"ConnectionError", "TimeoutError", "gaierror"}  # Python's and botocore's
    names |= {"TransportError", "ClientConnectionError", "HTTPClientError"}  # httpx, aiohttp
    while problem:
        if names & {base.__name__ for base in type(problem).__mro__}:
            return True
        problem = problem.__cause__
    return False


def one_line(problem: Exception) -> str:
    """Return the message of an error on one line, with at most 500 characters."""
    return textwrap.shorten(str(problem), 500, placeholder=" ...")

"""Open users' files: formats and packings, unpacked bytes, and what can go wrong on the way, in one line."""

import io
import os
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from factory.errors import InputError, UnreachableError
from factory.storage import file_io

FORMATS = (".jsonl", ".ndjson", ".json", ".csv", ".txt")
PACKINGS = {".gz": "gzip", ".zst": "zstd"}
KNOWN = f"known are {', '.join(FORMATS)} (each also with {' or '.join(PACKINGS)}) and .parquet"

ANSWER_S = 12.0
"""How long a remote place may take to answer at all; its client alone may try for minutes."""
REQUEST_BYTES = 2**23
"""How much one request to a remote place asks for."""


def suffixes(path: str) -> tuple[str, str]:
    """Return the suffixes of format and packing; the first is "" where the two are not known."""
    stem, packing = os.path.splitext(path.lower())
    if packing not in PACKINGS:
        stem, packing = path.lower(), ""
    suffix = os.path.splitext(stem)[1]
    known = suffix in FORMATS or (suffix == ".parquet" and not packing)
    return (suffix if known else ""), packing


@dataclass(frozen=True, order=True)
class SourceFile(os.PathLike[str]):
    """A file of a source, with what the listing that found it says of it."""

    path: str
    size: int
    changed: str
    """Its ETag, or when it was last changed."""

    def __fspath__(self) -> str:
        return self.path


@contextmanager
def opened(file: str | os.PathLike[str]) -> Iterator[Any]:
    """Open a file and yield its unpacked bytes, as an io.BufferedReader."""
    path = os.fspath(file)
    suffix, packing = suffixes(path)
    if not suffix:
        raise InputError(f"{path}: not a known format; {KNOWN}")
    fs, name = file_io.filesystem(path)
    small = isinstance(file, SourceFile) and file.size <= REQUEST_BYTES and path.startswith("s3://")
    with reading(path), _fetched(fs, name) if small else fs.open(name, "rb", cache_type="none") as source:
        unpacked = io.BufferedReader(source, REQUEST_BYTES)
        if packing:
            # Not the zstandard package: it takes the end of a cut file for the end of the data.
            unpacked = io.BufferedReader(pa.CompressedInputStream(unpacked, PACKINGS[packing]), REQUEST_BYTES)
        yield unpacked


def _fetched(fs: Any, name: str) -> io.BytesIO:
    """Read a small object in one request: opening takes one more, and so does a fetch in parts."""
    return io.BytesIO(fs.cat_file(name, max_concurrency=1))


@contextmanager
def reading(path: str) -> Iterator[None]:
    """Raise what reading raises as one line that names the path and the way out."""
    with file_io.storage_errors(path):
        try:
            yield
        except Exception as problem:
            told = one_line(problem)
            if is_silence(problem):
                why = told or f"nothing within {ANSWER_S:.0f} s"
                way_out = "check the network, or name a local copy"
                raise UnreachableError(f"{path}: no answer ({why}); {way_out}") from None
            if isinstance(problem, FileNotFoundError) and "bucket does not exist" not in told:
                raise InputError(f"{path}: does not exist; name another file") from None
            # Arrow raises a bare OSError for what it cannot unpack; a disk's has a number.
            bare = type(problem) is OSError and problem.errno is None
            if not bare and not isinstance(problem, pa.ArrowException):
                raise
            suffix, packing = suffixes(path)
            kind = PACKINGS.get(packing, suffix[1:])
            raise InputError(f"{path}: is damaged or not {kind}; fetch it anew ({told})") from None


def is_silence(problem: BaseException | None) -> bool:
    """Return whether a remote place did not answer; the clients' errors share names but no class."""
    names = {"ConnectionError", "TimeoutError", "gaierror"}  # Python's and botocore's
    names |= {"TransportError", "ClientConnectionError", "HTTPClientError"}  # httpx, aiohttp
    while problem:
        if names & {base.__name__ for base in type(problem).__mro__}:
            return True
        problem = problem.__cause__
    return False


def one_line(problem: Exception) -> str:
    """Return what an error says, on one line of at most 500 characters."""
    return textwrap.shorten(str(problem), 500, placeholder=" ...")

"""Users' files, of any size: found, checked, opened and read as raw rows (`formats`).

Files are JSONL, JSON, CSV, Parquet or text, packed with gzip or zstd or not, on local disk, S3,
Google Cloud Storage or Hugging Face (hf://).
"""

import codecs
import io
import json
import os
import textwrap
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
from fsspec.implementations.local import LocalFileSystem

from factory import storage
from factory.errors import InputError, UnreachableError
from factory.synthesis.formats import (
    RawRow,
    array_rows,
    csv_rows,
    decoded,
    line_rows,
    parquet_rows,
    skip_blanks,
)

FORMATS = (".jsonl", ".ndjson", ".json", ".csv", ".txt")
PACKINGS = {".gz": "gzip", ".zst": "zstd"}
KNOWN = f"known are {', '.join(FORMATS)} (each also with {' or '.join(PACKINGS)}) and .parquet"

ANSWER_S = 12.0
"""How long a remote place may take to answer at all; its client alone may try for minutes."""
REQUEST_BYTES = 2**23
"""How much one request to a remote place asks for."""


def find_files(source: str | Sequence[str]) -> list[str]:
    """List the files that are meant by one or many paths, each a file, a folder or a glob, sorted.

    Folders are searched with all folders in them (not through links), also those that a glob
    matches; what starts with "." or "_" in a folder is left out. No file is listed twice.

    Raises:
        InputError: there is nothing there, nothing of a known format, or no such protocol.
        UnreachableError: a remote place does not answer.
        StorageError: a bucket, credentials or rights are missing.
    """
    sources = [source] if isinstance(source, str) else source
    if not sources or "" in sources:
        raise InputError(f"source {source!r}: names nothing; name a file, a folder or a glob")
    return sorted({path for each in sources for path in _files_of(each)})


def check_column(path: str, column: str, setting: str = "") -> None:
    """Check that a file has rows and, by the first one that can tell, that they have a column.

    A text has no columns and passes, be it a line of a text file or a string in JSON. `setting` is
    the config key that names the column.

    Raises:
        InputError: there is no such column or no row at all; and as `read_rows`.
    """
    passed, first = 0, ""
    for row in read_rows(path):
        if isinstance(row.value, dict) and column not in row.value:
            names = ", ".join(str(name) for name in row.value if name is not None)
            known = textwrap.shorten(names, 500, placeholder=" ...").encode("utf-8", "backslashreplace").decode()
            named = f"{column!r} ({setting})" if setting else repr(column)
            raise InputError(f"{path}: no column {named}; it has: {known}")
        if isinstance(row.value, (dict, str)):
            return
        passed += 1
        first = first or (f"{row.error} in {row.detail}" if row.error else repr(row.value))
    if passed:
        told = textwrap.shorten(first, 80, placeholder=" ...")
        way_out = "write an object a line, or one array of them, in UTF-8"
        raise InputError(f"{path}: none of its {passed} rows is an object (the first: {told}); {way_out}")
    raise InputError(f"{path}: holds no rows; fill it or leave it out")


def read_rows(path: str) -> Iterator[RawRow]:
    """Yield the rows of a file in its order; one that cannot be read comes with an error.

    A CSV row with too few cells has None in the others; cells too many stand as a list under None.

    Raises:
        InputError: the file is gone, of no known format, or cannot be read beyond some place.
        UnreachableError: a remote place does not answer.
        StorageError: rights are missing, or storage fails.
    """
    suffix, _ = _suffixes(path)
    with _opened(path) as file:
        if suffix == ".parquet":
            yield from parquet_rows(path, file)
            return
        if file.peek(3).startswith(codecs.BOM_UTF8):
            file.read(3)
        if suffix == ".csv":
            with decoded(file) as text:
                yield from csv_rows(path, text)
        elif suffix == ".txt":
            yield from line_rows(file, 0, lambda line: line.rstrip("\r\n"))
        else:
            blank_lines, first = skip_blanks(file)
            if suffix == ".json" and first == b"[":
                with decoded(file) as text:
                    yield from array_rows(path, text)
            else:  # Persona Hub ships lines of JSON as .json too
                yield from line_rows(file, blank_lines, json.loads)


def _files_of(source: str) -> list[str]:
    try:
        fs, name = storage.filesystem(source)
        with _reading(source):
            info = _look(fs, name)
            if info is None and not any(sign in name for sign in "*?["):
                raise InputError(f"{source}: does not exist; name a file, a folder or a glob")
            if info and info["type"] != "directory" and not _suffixes(name)[0]:
                raise InputError(f"{source}: not a known format; {KNOWN}")
            found = {name: info} if info else fs.glob(name, detail=True)
            files = [file for each in found.items() for file in _files_in(fs, *each)]
    except (ValueError, ImportError, NotImplementedError) as problem:
        # What fsspec and huggingface_hub say of a path that they cannot make out.
        raise InputError(f"{source}: {_one_line(problem)}") from None
    if not files:
        raise InputError(f"{source}: no file of a known format there; {KNOWN}")
    return files if isinstance(fs, LocalFileSystem) else [fs.unstrip_protocol(f) for f in files]


def _files_in(fs: Any, name: str, info: dict[str, Any]) -> Iterator[str]:
    for file in _walk(fs, name) if info["type"] == "directory" else [name]:
        below = file.removeprefix(name).split("/")
        if _suffixes(file)[0] and not any(part.startswith((".", "_")) for part in below):
            yield file


def _walk(fs: Any, name: str) -> list[str]:
    """Every file in a folder. fsspec leaves out a local folder that must not be read without a word."""

    def refuse(problem: OSError) -> None:
        raise problem

    if not isinstance(fs, LocalFileSystem):
        return list(fs.find(name))
    return [os.path.join(at, file) for at, _, files in os.walk(name, onerror=refuse) for file in files]


def _suffixes(path: str) -> tuple[str, str]:
    """The suffixes of format and packing; the first is "" where the two are not known."""
    stem, packing = os.path.splitext(path.lower())
    if packing not in PACKINGS:
        stem, packing = path.lower(), ""
    suffix = os.path.splitext(stem)[1]
    known = suffix in FORMATS or (suffix == ".parquet" and not packing)
    return (suffix if known else ""), packing


def _look(fs: Any, name: str) -> dict[str, Any] | None:
    """What stands there, in fsspec's words, or None; TimeoutError where no answer comes."""
    answer: Future[dict[str, Any]] = Future()

    def ask() -> None:
        try:
            answer.set_result(fs.info(name))
        except BaseException as problem:
            answer.set_exception(problem)

    # A daemon, so that one that hangs in a name look-up does not keep the process alive.
    threading.Thread(target=ask, daemon=True).start()
    try:
        return answer.result(ANSWER_S)
    except FileNotFoundError as problem:
        if _is_silence(problem) or "bucket does not exist" in str(problem):
            raise
        return None


@contextmanager
def _opened(path: str) -> Iterator[Any]:
    """The unpacked bytes of a file, as an io.BufferedReader."""
    suffix, packing = _suffixes(path)
    if not suffix:
        raise InputError(f"{path}: not a known format; {KNOWN}")
    fs, name = storage.filesystem(path)
    with _reading(path), fs.open(name, "rb", cache_type="none") as source:
        file = io.BufferedReader(source, REQUEST_BYTES)
        if packing:
            # Not the zstandard package: it takes the end of a cut file for the end of the data.
            file = io.BufferedReader(pa.CompressedInputStream(file, PACKINGS[packing]), REQUEST_BYTES)
        yield file


@contextmanager
def _reading(path: str) -> Iterator[None]:
    """Tell what reading raises as one line that names the path and the way out."""
    with storage.storage_errors(path):
        try:
            yield
        except Exception as problem:
            told = _one_line(problem)
            if _is_silence(problem):
                why = told or f"nothing within {ANSWER_S:.0f} s"
                way_out = "check the network, or name a local copy"
                raise UnreachableError(f"{path}: no answer ({why}); {way_out}") from None
            if isinstance(problem, FileNotFoundError) and "bucket does not exist" not in told:
                raise InputError(f"{path}: does not exist; name another file") from None
            # Arrow raises a bare OSError for what it cannot unpack; a disk's has a number.
            bare = type(problem) is OSError and problem.errno is None
            if not bare and not isinstance(problem, pa.ArrowException):
                raise
            suffix, packing = _suffixes(path)
            kind = PACKINGS.get(packing, suffix[1:])
            raise InputError(f"{path}: is damaged or not {kind}; fetch it anew ({told})") from None


def _is_silence(problem: BaseException | None) -> bool:
    """Whether a remote place did not answer; the clients' errors share names but no class."""
    names = {"ConnectionError", "TimeoutError", "gaierror"}  # Python's and botocore's
    names |= {"TransportError", "ClientConnectionError", "HTTPClientError"}  # httpx, aiohttp
    while problem:
        if names & {base.__name__ for base in type(problem).__mro__}:
            return True
        problem = problem.__cause__
    return False


def _one_line(problem: Exception) -> str:
    return textwrap.shorten(str(problem), 500, placeholder=" ...")

"""Users' files, of any size: found, checked, opened and read as raw rows (`formats`).

Files are JSONL, JSON, CSV, Parquet or text, packed with gzip or zstd or not, on local disk, S3,
Google Cloud Storage or Hugging Face (hf://).
"""

import codecs
import os
import textwrap
import threading
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from fsspec.implementations.local import LocalFileSystem

from factory.errors import InputError
from factory.storage import file_io
from factory.storage.shuffle import BYTES_PER_SPILL
from factory.synthesis import opening
from factory.synthesis.csv_file import csv_rows
from factory.synthesis.input_formats import RawRow, decoded, line_rows, skip_blanks
from factory.synthesis.json_file import array_rows, holds_array, json_value
from factory.synthesis.opening import KNOWN, SourceFile, is_silence, one_line, opened, reading, suffixes
from factory.synthesis.parquet_file import parquet_rows, row_count

LISTED_AT_ONCE = 16
"""How many paths of a source are looked up side by side."""
NAMES_CHARS = 500
"""How much of the columns of a file a message lists."""
FILES_A_TASK = 32
"""The most small files that a task reads: a task each costs more than to read them, and all in one would be slow."""


def find_files(source: str | Sequence[str]) -> list[SourceFile]:
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
    # The file systems are made here: fsspec keeps one a thread, each with a client of its own.
    places = [_place(each) for each in sources]
    pool = ThreadPoolExecutor(LISTED_AT_ONCE)
    try:
        return sorted({file.path: file for files in pool.map(_files_of, sources, places) for file in files}.values())
    finally:
        pool.shutdown(cancel_futures=True)


def not_empty(files: list[SourceFile]) -> list[SourceFile]:
    """Leave out empty files, which Spark writes beside others; where all are empty, reading says so."""
    return [file for file in files if file.size] or files


def tasks_of(files: Sequence[SourceFile], limit: int | None) -> list[list[tuple[int, SourceFile]]]:
    """Cut files, each with its number, into what a task reads: one large file, or some small ones in a row.

    The first rows of all files are read one file after the other.
    """
    tasks: list[list[tuple[int, SourceFile]]] = []
    size = 0
    for number, file in enumerate(files):
        size += file.size
        full = not tasks or (not limit and (size > BYTES_PER_SPILL or len(tasks[-1]) == FILES_A_TASK))
        if full:
            tasks.append([])
            size = file.size
        tasks[-1].append((number, file))
    return tasks


def check_column(path: str, column: str, setting: str = "") -> None:
    """Check that a file has rows and, by the first one that can tell, that they have a column.

    A text has no columns and passes, be it a line of a text file or a string in JSON. `setting` is
    the config key that names the column.

    Raises:
        InputError: there is no such column or no row at all; and as `read_rows`.
    """
    passed, first = 0, ""
    for row in read_rows(path, [column]):
        if isinstance(row.value, dict) and column not in row.value:
            named = f"{column!r} ({setting})" if setting else repr(column)
            raise InputError(f"{path}: no column {named}; it has: {names_in(row.value)}")
        if isinstance(row.value, (dict, str)):
            return
        passed += 1
        first = first or (f"{row.error} in {row.detail}" if row.error else repr(row.value))
    if passed:
        told = textwrap.shorten(first, 80, placeholder=" ...")
        way_out = "write an object a line, or one array of them, in UTF-8"
        raise InputError(f"{path}: none of its {passed} rows is an object (the first: {told}); {way_out}")
    raise InputError(f"{path}: holds no rows; fill it or leave it out")


def names_in(row: dict[Any, Any]) -> str:
    """Return the columns of a row for a message, which shows the spaces around them."""
    names = ", ".join(repr(name) for name in row if name is not None)
    return names if len(names) <= NAMES_CHARS else f"{names[:NAMES_CHARS]} ..."


def read_rows(file: str | os.PathLike[str], columns: Collection[str] | None = None) -> Iterator[RawRow]:
    """Yield the rows of a file in its order; one that cannot be read comes with an error.

    A CSV row with too few cells has None in the others; cells too many stand as a list under None.

    Args:
        file: its path, or what a listing says of it.
        columns: those that are needed; None for all. Parquet's others are not read (`parquet_rows`).

    Raises:
        InputError: the file is gone, of no known format, or cannot be read beyond some place, or a
            column that is needed stands twice in it.
        UnreachableError: a remote place does not answer.
        StorageError: rights are missing, or storage fails.
    """
    path = os.fspath(file)
    suffix, _ = suffixes(path)
    if suffix == ".parquet":
        with opened(file) as data:
            yield from parquet_rows(path, data, columns)
    elif suffix == ".csv":
        with _opened_text(file) as data, decoded(data) as text:
            yield from csv_rows(path, text, columns)
    elif suffix == ".txt":
        with _opened_text(file) as data:
            yield from line_rows(data, 0, lambda line: line.rstrip("\r\n"))
    else:
        yield from _json_rows(file, suffix)


def reported_rows(file: SourceFile) -> int | None:
    """Return how many rows a file says that it has: Parquet does."""
    if suffixes(file.path)[0] != ".parquet":
        return None
    with opened(file) as data:
        return row_count(data)


def _json_rows(file: str | os.PathLike[str], suffix: str) -> Iterator[RawRow]:
    """Read an array or lines, whichever there are: Persona Hub ships lines as .json, others an array as .jsonl."""
    with _opened_text(file) as data:
        blank_lines, first = skip_blanks(data)
        if first != b"[":
            yield from line_rows(data, blank_lines, json_value)
            return
        array = suffix == ".json" or holds_array(data)
    with _opened_text(file) as data:
        blank_lines, _ = skip_blanks(data)
        if array:
            with decoded(data) as text:
                yield from array_rows(os.fspath(file), text)
        else:
            yield from line_rows(data, blank_lines, json_value)


@contextmanager
def _opened_text(file: str | os.PathLike[str]) -> Iterator[Any]:
    """Open a file and pass its byte order mark."""
    with opened(file) as data:
        if data.peek(3).startswith(codecs.BOM_UTF8):
            data.read(3)
        yield data


def _place(source: str) -> tuple[Any, str]:
    with _known_path(source):
        return file_io.filesystem(source)


def _files_of(source: str, place: tuple[Any, str]) -> list[SourceFile]:
    fs, name = place
    with _known_path(source), reading(source):
        info = _look(fs, name)
        if info is None and not any(sign in name for sign in "*?["):
            raise InputError(f"{source}: does not exist; name a file, a folder or a glob")
        if info and info["type"] != "directory" and not suffixes(name)[0]:
            raise InputError(f"{source}: not a known format; {KNOWN}")
        found = {name: info} if info else fs.glob(name, detail=True)
        files = [file for each in found.items() for file in _files_in(fs, *each)]
    if not files:
        raise InputError(f"{source}: no file of a known format there; {KNOWN}")
    return files


@contextmanager
def _known_path(source: str) -> Iterator[None]:
    """Raise what fsspec and huggingface_hub say of a path that they cannot make out as one line."""
    try:
        yield
    except (ValueError, ImportError, NotImplementedError) as problem:
        raise InputError(f"{source}: {one_line(problem)}") from None


def _files_in(fs: Any, name: str, info: dict[str, Any]) -> Iterator[SourceFile]:
    files = _walk(fs, name) if info["type"] == "directory" else {name: info}
    for file, told in files.items():
        below = file.removeprefix(name).split("/")
        if suffixes(file)[0] and not any(part.startswith((".", "_")) for part in below):
            path = file if isinstance(fs, LocalFileSystem) else fs.unstrip_protocol(file)
            yield SourceFile(path, int(told.get("size") or 0), _changed(told))


def _walk(fs: Any, name: str) -> dict[str, dict[str, Any]]:
    """Every file in a folder. fsspec leaves out a local folder that must not be read without a word."""

    def refuse(problem: OSError) -> None:
        raise problem

    if not isinstance(fs, LocalFileSystem):
        return dict(fs.find(name, detail=True))
    files = [os.path.join(at, file) for at, _, files in os.walk(name, onerror=refuse) for file in files]
    return {file: fs.info(file) for file in files if suffixes(file)[0]}


def _changed(info: dict[str, Any]) -> str:
    """Return what differs when a file has other content; file systems name it in their own ways."""
    names = ("ETag", "etag", "blob_id", "LastModified", "mtime")
    return str(next((info[name] for name in names if info.get(name)), None))


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
        return answer.result(opening.ANSWER_S)
    except FileNotFoundError as problem:
        if is_silence(problem) or "bucket does not exist" in str(problem):
            raise
        return None

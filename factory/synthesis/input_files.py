"""Input files: find user files of any size, check them, and read their rows.

Files are JSONL, JSON, CSV, Parquet or text, plain or compressed with gzip or zstd, on local disk, S3,
Google Cloud Storage or Hugging Face (hf://).
"""

import codecs
import os
import textwrap
import threading
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Any

from fsspec.implementations.local import LocalFileSystem

from factory.errors import InputError
from factory.storage import file_io
from factory.storage.shuffle import BYTES_PER_SPILL
from factory.synthesis import opening
from factory.synthesis.csv_file import csv_rows
from factory.synthesis.input_formats import RawRow, decoded, line_rows, skip_blanks
from factory.synthesis.json_file import array_rows, holds_array, json_value
from factory.synthesis.opening import SourceFile, input_errors, is_no_answer, known_formats, one_line, opened, suffixes
from factory.synthesis.parquet_file import parquet_rows, row_count

LISTING_THREADS = 16
"""The number of paths of a source that are listed in parallel."""
NAMES_CHARS = 500
"""The most characters of a file's column names in a message."""
FILES_PER_TASK = 32
"""The most small files that a task reads: one task per file costs more than reading it, and one for all is slow."""


def find_files(source: str | Sequence[str], also: Collection[str] = ()) -> list[SourceFile]:
    """List the files of one or more paths, each a file, a folder or a glob, sorted.

    Folders, also those that a glob matches, are searched recursively, without following links; names in them
    that start with "." or "_" are left out. No file is listed twice. `also` are formats besides those of tables.

    Raises:
        InputError: nothing exists there, or nothing of a known format, or the protocol is unknown.
        UnreachableError: remote storage does not answer.
        StorageError: a bucket, credentials or rights are missing.
    """
    sources = [source] if isinstance(source, str) else source
    if not sources or "" in sources:
        raise InputError(f"source {source!r}: is empty; give a file, a folder or a glob")
    # Created here and not in the threads, because fsspec would create one per thread, each with its own client.
    filesystems = [_filesystem(path) for path in sources]
    pool = ThreadPoolExecutor(LISTING_THREADS)
    try:
        return sorted(
            {
                file.path: file
                for files in pool.map(partial(_list_files, also), sources, filesystems)
                for file in files
            }.values()
        )
    finally:
        pool.shutdown(cancel_futures=True)


def not_empty(files: list[SourceFile]) -> list[SourceFile]:
    """Return the files without empty ones, which Spark writes beside others; if all are empty, return them all."""
    return [file for file in files if file.size] or files


def split_into_tasks(files: Sequence[SourceFile], limit: int | None) -> list[list[tuple[int, SourceFile]]]:
    """Split files, each with its number, into tasks: one large file, or several consecutive small ones.

    With a limit there is one task, because the first rows are read one file after another.
    """
    tasks: list[list[tuple[int, SourceFile]]] = []
    size = 0
    for number, file in enumerate(files):
        size += file.size
        full = not tasks or (not limit and (size > BYTES_PER_SPILL or len(tasks[-1]) == FILES_PER_TASK))
        if full:
            tasks.append([])
            size = file.size
        tasks[-1].append((number, file))
    return tasks


def check_column(path: str, column: str, setting: str = "") -> None:
    """Check that a file has rows and, by the first object or text, that they have a column.

    A text has no columns and is valid, in a text file and as a string in JSON. `setting` is the config key
    that names the column.

    Raises:
        InputError: there is no such column or no row at all, or `read_rows` raises it.
    """
    skipped, first = 0, ""
    for row in read_rows(path, [column]):
        if isinstance(row.value, dict) and column not in row.value:
            named = f"{column!r} ({setting})" if setting else repr(column)
            raise InputError(f"{path}: no column {named}; it has: {names_in(row.value)}")
        if isinstance(row.value, (dict, str)):
            return
        skipped += 1
        first = first or (f"{row.error} in {row.detail}" if row.error else repr(row.value))
    if skipped:
        example = textwrap.shorten(first, 80, placeholder=" ...")
        remedy = "write one object per line, or one array of objects, in UTF-8"
        raise InputError(f"{path}: none of its {skipped} rows is an object (the first: {example}); {remedy}")
    raise InputError(f"{path}: has no rows; add some or leave it out")


def names_in(row: dict[Any, Any]) -> str:
    """Return the columns of a row for a message, quoted, because names may have spaces around them."""
    names = ", ".join(repr(name) for name in row if name is not None)
    return names if len(names) <= NAMES_CHARS else f"{names[:NAMES_CHARS]} ..."


def read_rows(file: str | os.PathLike[str], columns: Collection[str] | None = None) -> Iterator[RawRow]:
    """Yield the rows of a file in its order; a row that cannot be read has an error.

    A CSV row with too few cells has None in the others; surplus cells are a list under the key None.

    Args:
        file: its path, or its entry in a listing.
        columns: the needed columns; None for all. Other columns of Parquet are not read (`parquet_rows`).

    Raises:
        InputError: the file is missing, has an unknown format or is damaged, or a needed column
            appears twice in it.
        UnreachableError: remote storage does not answer.
        StorageError: permissions are missing, or storage fails.
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
    """Return the number of rows that a file records, as Parquet does, or None."""
    if suffixes(file.path)[0] != ".parquet":
        return None
    with opened(file) as data:
        return row_count(data)


def _json_rows(file: str | os.PathLike[str], suffix: str) -> Iterator[RawRow]:
    """Read an array or lines, whatever the suffix: Persona Hub has lines in .json files, others an array in .jsonl."""
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
    """Open a file and skip its byte order mark."""
    with opened(file) as data:
        if data.peek(3).startswith(codecs.BOM_UTF8):
            data.read(3)
        yield data


def _filesystem(source: str) -> tuple[Any, str]:
    with _path_errors(source):
        return file_io.filesystem(source)


def _list_files(also: Collection[str], source: str, filesystem: tuple[Any, str]) -> list[SourceFile]:
    fs, name = filesystem
    with _path_errors(source), input_errors(source):
        info = _info(fs, name)
        if info is None and not any(wildcard in name for wildcard in "*?["):
            raise InputError(f"{source}: does not exist; give a file, a folder or a glob")
        if info and info["type"] != "directory" and not suffixes(name, also)[0]:
            raise InputError(f"{source}: not a known format; {known_formats(also)}")
        found = {name: info} if info else fs.glob(name, detail=True)
        files = [file for entry in found.items() for file in _files_in(fs, also, *entry)]
    if not files:
        raise InputError(f"{source}: has no file of a known format; {known_formats(also)}")
    return files


@contextmanager
def _path_errors(source: str) -> Iterator[None]:
    """Convert the exceptions of fsspec and huggingface_hub for invalid paths to one-line errors."""
    try:
        yield
    except (ValueError, ImportError, NotImplementedError) as problem:
        raise InputError(f"{source}: {one_line(problem)}") from None


def _files_in(fs: Any, also: Collection[str], name: str, info: dict[str, Any]) -> Iterator[SourceFile]:
    files = _walk(fs, also, name) if info["type"] == "directory" else {name: info}
    for file, entry in files.items():
        parts = file.removeprefix(name).split("/")
        if suffixes(file, also)[0] and not any(part.startswith((".", "_")) for part in parts):
            path = file if isinstance(fs, LocalFileSystem) else fs.unstrip_protocol(file)
            yield SourceFile(path, int(entry.get("size") or 0), _version(entry))


def _walk(fs: Any, also: Collection[str], name: str) -> dict[str, dict[str, Any]]:
    """Return every file in a folder. fsspec silently leaves out local folders that may not be read."""

    def fail(problem: OSError) -> None:
        raise problem

    if not isinstance(fs, LocalFileSystem):
        return dict(fs.find(name, detail=True))
    files = [os.path.join(folder, file) for folder, _, files in os.walk(name, onerror=fail) for file in files]
    return {file: fs.info(file) for file in files if suffixes(file, also)[0]}


def _version(info: dict[str, Any]) -> str:
    """Return a value that changes with a file's content; file systems have different names for it."""
    names = ("ETag", "etag", "blob_id", "LastModified", "mtime")
    return str(next((info[name] for name in names if info.get(name)), None))


def _info(fs: Any, name: str) -> dict[str, Any] | None:
    """Return fsspec's info of a path, or None; raise TimeoutError without an answer."""
    answer: Future[dict[str, Any]] = Future()

    def request() -> None:
        try:
            answer.set_result(fs.info(name))
        except BaseException as problem:
            answer.set_exception(problem)

    # A daemon, so that a thread that hangs in a name look-up does not keep the process alive.
    threading.Thread(target=request, daemon=True).start()
    try:
        return answer.result(opening.ANSWER_TIMEOUT_S)
    except FileNotFoundError as problem:
        if is_no_answer(problem) or "bucket does not exist" in str(problem):
            raise
        return None

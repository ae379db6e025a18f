"""Raw rows out of users' files, of any size, in bounded memory and with nothing lost.

Files are JSONL, JSON, CSV, Parquet or text, packed with gzip or zstd or not, on local disk, S3,
Hugging Face (hf://) or whatever else fsspec knows.
"""

import codecs
import csv
import io
import json
import os
import re
import textwrap
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, zip_longest
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from fsspec.implementations.local import LocalFileSystem

from factory import storage
from factory.errors import InputError, UnreachableError

FORMATS = (".jsonl", ".ndjson", ".json", ".csv", ".txt")
PACKINGS = {".gz": "gzip", ".zst": "zstd"}
KNOWN = f"known are {', '.join(FORMATS)} (each also with {' or '.join(PACKINGS)}) and .parquet"

ANSWER_S = 12.0
"""How long a remote place may take to answer at all; its client alone may try for minutes."""
REQUEST_BYTES = 2**23
"""How much one request to a remote place asks for."""
WINDOW = 2**20
BATCH_ROWS = 1024
CELL_CHARS = 2**28
"""The longest cell of a CSV file, so that a quote that is never closed does not fill the memory."""
DETAIL_CHARS = 2000

_DECODER = json.JSONDecoder()
_BLANKS = " \t\n\r"
_MARK = re.compile(rf"[{_BLANKS}]*([,\]])[{_BLANKS}]*")
"""What follows an element of a JSON array."""
_CSV_END = "\ud800"
"""A last line that no file has: decoding never makes this character."""


@dataclass(frozen=True, slots=True)
class RawRow:
    """One row as it was read, or why it could not be.

    `row` is its number in the file, from 0; where lines are rows that of the line, blank ones
    counted. `value` is a dict, whatever other JSON value stood there, or the str of a text file.
    `error` is "", `invalid_json` or `not_utf8`, `detail` then its place and the raw text, clipped.
    """

    row: int
    value: Any
    error: str = ""
    detail: str = ""


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


def check_column(path: str, column: str) -> None:
    """Check that a file has rows and, by the first one that can tell, that they have a column.

    A text has no columns and passes, be it a line of a text file or a string in JSON.

    Raises:
        InputError: there is no such column or no row at all; and as `read_rows`.
    """
    passed = 0
    for row in read_rows(path):
        if isinstance(row.value, dict) and column not in row.value:
            names = ", ".join(str(name) for name in row.value if name is not None)
            known = textwrap.shorten(names, 500, placeholder=" ...")
            raise InputError(f"{path}: no column {column!r}; it has: {known}")
        if isinstance(row.value, (dict, str)):
            return
        passed += 1
    if passed:
        raise InputError(f"{path}: none of its {passed} rows is an object; write one a line or one array of them")
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
            yield from _parquet_rows(path, file)
            return
        if file.peek(3).startswith(codecs.BOM_UTF8):
            file.read(3)
        if suffix == ".csv":
            with _decoded(file) as text:
                yield from _csv_rows(path, text)
        elif suffix == ".txt":
            yield from _line_rows(file, 0, lambda line: line.rstrip("\r\n"))
        else:
            blank_lines, first = _skip_blanks(file)
            if suffix == ".json" and first == b"[":
                with _decoded(file) as text:
                    yield from _array_rows(path, text)
            else:  # Persona Hub ships lines of JSON as .json too
                yield from _line_rows(file, blank_lines, _DECODER.decode)


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
    for file in fs.find(name) if info["type"] == "directory" else [name]:
        below = file.removeprefix(name).split("/")
        if _suffixes(file)[0] and not any(part.startswith((".", "_")) for part in below):
            yield file


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
            file = io.BufferedReader(pa.CompressedInputStream(file, PACKINGS[packing]), WINDOW)
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


def _skip_blanks(file: io.BufferedReader) -> tuple[int, bytes]:
    """Read up to what is not blank; the lines passed and the byte there, b"" at the end."""
    lines = 0
    while head := file.peek():
        rest = head.lstrip()
        lines += file.read(len(head) - len(rest)).count(b"\n")
        if rest:
            return lines, rest[:1]
    return lines, b""


def _line_rows(file: io.BufferedReader, first: int, parse: Callable[[str], Any]) -> Iterator[RawRow]:
    for row, line in enumerate(file, first):
        if line.isspace():
            continue
        try:
            value = parse(line.decode())
        except (ValueError, RecursionError) as problem:
            reason = "not_utf8" if isinstance(problem, UnicodeDecodeError) else "invalid_json"
            # A character has at most four bytes.
            head = line[: 4 * DETAIL_CHARS].decode("utf-8", "surrogateescape")
            yield RawRow(row, None, reason, _detail(f"line {row + 1}", head))
        else:
            yield RawRow(row, value)


def _decoded(file: io.BufferedReader) -> io.TextIOWrapper:
    """The text of a file, with a lone surrogate for each byte that is not UTF-8."""
    return io.TextIOWrapper(file, "utf-8", "surrogateescape", newline="")


def _csv_rows(path: str, text: io.TextIOWrapper) -> Iterator[RawRow]:
    csv.field_size_limit(CELL_CHARS)
    records = csv.reader(chain(text, [_CSV_END]))
    header: list[str] = []
    row, first = 0, 1
    try:
        for cells in records:
            if cells and cells[-1].endswith(_CSV_END):
                if cells != [_CSV_END]:
                    raise csv.Error("the file ends in it")
            elif cells and not header:
                header = cells
            elif cells:
                value: dict[str | None, Any] = dict(zip_longest(header, cells[: len(header)]))
                if len(cells) > len(header):
                    value[None] = cells[len(header) :]
                yield _checked(row, value, f"line {first}", ",".join(cells))
                row += 1
            first = records.line_num + 1
    except csv.Error as problem:
        way_out = "close its quote"
        raise InputError(f"{path}: a record from line {first} on does not end ({problem}); {way_out}") from None


def _array_rows(path: str, text: io.TextIOWrapper) -> Iterator[RawRow]:
    """Parse element by element in a window of the text, which grows until one is whole in it.

    Not with ijson, which turns a lone surrogate into "?" and stops at NaN and at long numbers.
    """
    window, at, row, ended = text.read(WINDOW)[1:].lstrip(_BLANKS), 0, 0, False
    while not ended:
        if row == 0 and window.startswith("]"):
            at = 1
            break
        try:
            value, stop = _DECODER.raw_decode(window, at)
            mark = _MARK.match(window, stop)
            if not mark:
                stop = len(window) - len(window[stop:].lstrip(_BLANKS))
                raise json.JSONDecodeError("Expecting ',' delimiter", window, stop)
        except (ValueError, RecursionError) as problem:
            place, told = getattr(problem, "pos", at), getattr(problem, "msg", _one_line(problem))
            # What is cut fails at the window's end; but for a string, named by its start.
            cut = place > len(window) - 16 or told.startswith("Unterminated string")
            if cut and (more := text.read(max(WINDOW, len(window) - at))):
                window, at = (window[at:] + more).lstrip(_BLANKS), 0
                continue
            near = repr(window[place : place + 40])
            raise InputError(f"{path}: row {row} is cut or not JSON: {told}: {near}") from None
        yield _checked(row, value, f"row {row}", window[at:stop])
        at, row, ended = mark.end(), row + 1, mark[1] == "]"
    rest = window[at:]
    while rest.isspace():
        rest = text.read(WINDOW)
    if rest:
        raise InputError(f"{path}: goes on after its array; name a file of JSON lines .jsonl")


def _parquet_rows(path: str, file: io.BufferedReader) -> Iterator[RawRow]:
    # Arrow's defaults hold a whole row group: 700 MB for one of 600 MB, against 100 MB so.
    table = pq.ParquetFile(file, buffer_size=REQUEST_BYTES, pre_buffer=False)
    row = 0
    for batch in table.iter_batches(BATCH_ROWS):
        try:
            values = batch.to_pylist()
        except (UnicodeDecodeError, OverflowError):
            yield from (_parquet_row(path, batch.slice(i, 1), row + i) for i in range(len(batch)))
        else:
            yield from map(RawRow, range(row, row + len(values)), values)
        row += len(batch)


def _parquet_row(path: str, single: pa.RecordBatch, row: int) -> RawRow:
    try:
        return RawRow(row, single.to_pylist()[0])
    except UnicodeDecodeError as problem:
        raw = problem.object.decode("utf-8", "surrogateescape")
        return RawRow(row, None, "not_utf8", _detail(f"row {row}", raw))
    except OverflowError as problem:
        raise InputError(f"{path}: row {row} holds a date beyond Python's: {problem}") from None


def _checked(row: int, value: Any, place: str, raw: str) -> RawRow:
    """The row, unless its raw text had bytes that are not UTF-8."""
    try:
        raw.encode()
    except UnicodeEncodeError:
        return RawRow(row, None, "not_utf8", _detail(place, raw))
    return RawRow(row, value)


def _detail(place: str, raw: str) -> str:
    data = raw[:DETAIL_CHARS].rstrip("\r\n").encode("utf-8", "surrogateescape")
    return f"{place}: {data.decode('utf-8', 'backslashreplace')[:DETAIL_CHARS]}"

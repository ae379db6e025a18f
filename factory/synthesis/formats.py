"""An open file's bytes to raw rows: lines, CSV, a JSON array, Parquet; in bounded memory, nothing lost."""

import csv
import io
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain, zip_longest
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from factory.errors import InputError

WINDOW = 2**20
"""How many characters of a JSON array are looked at together."""
BATCH_ROWS = 1024
BUFFER_BYTES = 2**23
CELL_CHARS = 2**28
"""The longest cell of a CSV file, so that a quote that is never closed does not fill the memory."""
DETAIL_CHARS = 2000

_BLANKS = " \t\n\r"
_DECODER = json.JSONDecoder()
_MARK = re.compile(rf"[{_BLANKS}]*([,\]])[{_BLANKS}]*")
"""What follows an element of a JSON array."""
_CSV_END = "\ud800"
"""A last line that no file has: decoding never makes this character."""


@dataclass(frozen=True, slots=True)
class RawRow:
    """One row as it was read, or why it could not be.

    `row` is its number in the file, from 0; where lines are rows that of the line, blank ones
    counted. `value` is a dict, whatever other JSON value stood there, or the str of a text file.
    `error` is "", `invalid_json` or `not_utf8`; `detail` then its place ("line K: ", from 1, or
    "row K: ", from 0, where a file has no lines) and the raw text, clipped.
    """

    row: int
    value: Any
    error: str = ""
    detail: str = ""


def skip_blanks(file: io.BufferedReader) -> tuple[int, bytes]:
    """Read up to what is not blank; the lines passed and the byte there, b"" at the end."""
    lines = 0
    while head := file.peek():
        rest = head.lstrip()
        lines += file.read(len(head) - len(rest)).count(b"\n")
        if rest:
            return lines, rest[:1]
    return lines, b""


def line_rows(file: io.BufferedReader, first: int, parse: Callable[[str], Any]) -> Iterator[RawRow]:
    """Read one row a line; `first` is the number of the first."""
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


def decoded(file: io.BufferedReader) -> io.TextIOWrapper:
    """The text of a file, with a lone surrogate for each byte that is not UTF-8."""
    return io.TextIOWrapper(file, "utf-8", "surrogateescape", newline="")


def csv_rows(path: str, text: io.TextIOWrapper) -> Iterator[RawRow]:
    """Read records under a header."""
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


def array_rows(path: str, text: io.TextIOWrapper) -> Iterator[RawRow]:
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
            place, told = getattr(problem, "pos", at), getattr(problem, "msg", str(problem))
            # What is cut fails at the window's end; but for a string, named by its start.
            cut = place > len(window) - 16 or told.startswith("Unterminated string")
            if cut and (more := text.read(max(WINDOW, len(window) - at))):
                window, at = (window[at:] + more).lstrip(_BLANKS), 0
                continue
            near = repr(window[place : place + 40])
            raise InputError(f"{path}: row {row} is cut or not JSON: {told}: {near}") from None
        yield _checked(row, value, f"row {row}", window[at:stop])
        at, row, ended = mark.end(), row + 1, mark[1] == "]"
    rest = window[at:] or text.read(WINDOW)
    while rest.isspace():
        rest = text.read(WINDOW)
    if rest:
        raise InputError(f"{path}: goes on after its array; name a file of JSON lines .jsonl")


def parquet_rows(path: str, file: io.BufferedReader) -> Iterator[RawRow]:
    """Read rows batch by batch."""
    # Arrow's defaults hold a whole row group: 700 MB for one of 600 MB, against 100 MB so.
    table = pq.ParquetFile(file, buffer_size=BUFFER_BYTES, pre_buffer=False)
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

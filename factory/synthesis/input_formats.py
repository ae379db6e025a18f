"""File formats: what all of them share, and lines of text or JSON.

Readers turn an open file's bytes into raw rows in bounded memory, and lose none. The other formats have
their own modules: `json_file`, `csv_file` and `parquet_file`.
"""

import codecs
import io
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

from factory.errors import InputError

ROW_BYTES = 2**25
"""The maximum size of a row: bytes of a line, or characters of a JSON array's element or a CSV record.

A dialogue with images is smaller. Parsed JSON may need twenty times as much memory.
"""
WINDOW = 2**20
"""Characters of a JSON array that are parsed together."""
DETAIL_CHARS = 2000


@dataclass(frozen=True, slots=True)
class RawRow:
    """One row as it was read, or why it could not be read.

    `row` is its number in the file, from 0; in a file of lines the line's number, with blank lines
    counted. `value` is a dict, another JSON value, or the str of a text file. `error` is "" or a
    reject reason; `detail` is then the position ("line K: ", from 1, or "row K: ", from 0, where
    a file has no lines) and the raw text, shortened.
    """

    row: int
    value: Any
    error: str = ""
    detail: str = ""


class DuplicateKeyError(ValueError):
    """An object has a key twice, of which a dict would lose the first value; the message is the key."""


def skip_blanks(file: io.BufferedReader) -> tuple[int, bytes]:
    """Skip blanks; return the number of lines passed and the next byte, b"" at the end of the file."""
    lines = 0
    while head := file.peek():
        rest = head.lstrip()
        lines += file.read(len(head) - len(rest)).count(b"\n")
        if rest:
            return lines, rest[:1]
    return lines, b""


def line_rows(file: io.BufferedReader, first: int, parse: Callable[[str], Any]) -> Iterator[RawRow]:
    """Yield one row per line; `first` is the number of the first line.

    Byte order marks before lines are dropped, because files with one may have been joined.
    """
    for row in count(first):
        line = file.readline(ROW_BYTES)
        if not line:
            return
        cut = len(line) == ROW_BYTES and not line.endswith(b"\n") and _skip_line(file)
        line = line.removeprefix(codecs.BOM_UTF8)
        if not line or line.isspace():
            continue
        try:
            if cut:
                raise ValueError
            value = parse(line.decode())
        except (ValueError, RecursionError) as problem:
            # A character has at most four bytes.
            head = line[: 4 * DETAIL_CHARS].decode("utf-8", "surrogateescape")
            reason = "too_long" if cut else _reason(problem)
            yield RawRow(row, None, reason, detail(f"line {row + 1}", head, problem))
        else:
            yield RawRow(row, value)


def _skip_line(file: io.BufferedReader) -> bool:
    """Skip to the end of a line; return whether anything was skipped."""
    skipped = False
    while part := file.readline(WINDOW):
        skipped = True
        if part.endswith(b"\n"):
            break
    return skipped


def _reason(problem: Exception) -> str:
    if isinstance(problem, UnicodeDecodeError):
        return "not_utf8"
    return "duplicate_key" if isinstance(problem, DuplicateKeyError) else "invalid_json"


def decoded(file: io.BufferedReader) -> io.TextIOWrapper:
    """Return the file as text, with a lone surrogate for each byte that is not UTF-8."""
    return io.TextIOWrapper(file, "utf-8", "surrogateescape", newline="")


def check_distinct(path: str, names: Sequence[str], columns: Collection[str] | None) -> None:
    """Check that no column that is read (None: any) appears twice, because the first would be lost.

    Raises:
        InputError: a column does.
    """
    repeated = [name for name, times in Counter(names).items() if times > 1 and name]
    if read := [name for name in repeated if columns is None or name in columns]:
        raise InputError(f"{path}: has the column {read[0]!r} twice; rename or drop one of them")


def checked(row: int, value: Any, position: str, raw: str) -> RawRow:
    """Return a row with the value, or with an error where its raw text had bytes that are not UTF-8."""
    try:
        raw.encode()
    except UnicodeEncodeError:
        return RawRow(row, None, "not_utf8", detail(position, raw))
    return RawRow(row, value)


def detail(position: str, raw: str, problem: Exception | None = None) -> str:
    """Return the `detail` of a row that cannot be used: its position and its raw text, shortened."""
    if isinstance(problem, DuplicateKeyError):
        position = f"{position}: key {str(problem)[:100]!r} appears twice"
    data = raw[:DETAIL_CHARS].rstrip("\r\n").encode("utf-8", "surrogateescape")
    return f"{position}: {data.decode('utf-8', 'backslashreplace')[:DETAIL_CHARS]}"

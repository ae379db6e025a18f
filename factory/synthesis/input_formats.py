"""An open file's bytes to raw rows, in bounded memory, nothing lost: what all formats share, and lines.

The others have modules of their own: `json_file`, `csv_file` and `parquet_file`.
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
"""The longest row: so many bytes of a line, or characters of an element of a JSON array or of a CSV record.

A dialogue with pictures in it stays below. JSON of it may take twenty times as much in memory.
"""
WINDOW = 2**20
"""How many characters of a JSON array are looked at together."""
DETAIL_CHARS = 2000


@dataclass(frozen=True, slots=True)
class RawRow:
    """One row as it was read, or why it could not be.

    `row` is its number in the file, from 0; where lines are rows that of the line, blank ones
    counted. `value` is a dict, whatever other JSON value stood there, or the str of a text file.
    `error` is "" or the reason of a reject; `detail` then its place ("line K: ", from 1, or
    "row K: ", from 0, where a file has no lines) and the raw text, clipped.
    """

    row: int
    value: Any
    error: str = ""
    detail: str = ""


class DuplicateKeyError(ValueError):
    """An object has a key twice, and a dict would lose the first value; the message is the key."""


def skip_blanks(file: io.BufferedReader) -> tuple[int, bytes]:
    """Read up to what is not blank; return the lines passed and the byte there, b"" at the end."""
    lines = 0
    while head := file.peek():
        rest = head.lstrip()
        lines += file.read(len(head) - len(rest)).count(b"\n")
        if rest:
            return lines, rest[:1]
    return lines, b""


def line_rows(file: io.BufferedReader, first: int, parse: Callable[[str], Any]) -> Iterator[RawRow]:
    """Read one row a line; `first` is the number of the first.

    A byte order mark before a line is no part of it: files that have one may have been joined.
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
    """Read to the end of a line; return whether there was any more of it."""
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
    """Return the text of a file, with a lone surrogate for each byte that is not UTF-8."""
    return io.TextIOWrapper(file, "utf-8", "surrogateescape", newline="")


def check_names(path: str, names: Sequence[str], columns: Collection[str] | None) -> None:
    """Check that no column appears twice among those that are read (None: all): the first would be lost.

    Raises:
        InputError: one does.
    """
    twice = [name for name, times in Counter(names).items() if times > 1 and name]
    if read := [name for name in twice if columns is None or name in columns]:
        raise InputError(f"{path}: has the column {read[0]!r} twice; rename or drop one of them")


def checked(row: int, value: Any, place: str, raw: str) -> RawRow:
    """Return the row, unless its raw text had bytes that are not UTF-8."""
    try:
        raw.encode()
    except UnicodeEncodeError:
        return RawRow(row, None, "not_utf8", detail(place, raw))
    return RawRow(row, value)


def detail(place: str, raw: str, problem: Exception | None = None) -> str:
    """Return a place and the raw text there, clipped, for a row that cannot be used."""
    place = f"{place}: key {str(problem)[:100]!r} appears twice" if isinstance(problem, DuplicateKeyError) else place
    data = raw[:DETAIL_CHARS].rstrip("\r\n").encode("utf-8", "surrogateescape")
    return f"{place}: {data.decode('utf-8', 'backslashreplace')[:DETAIL_CHARS]}"

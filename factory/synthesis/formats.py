"""An open file's bytes to raw rows: lines and JSON arrays; in bounded memory, nothing lost.

Tables have modules of their own, `csv_file` and `parquet_file`.
"""

import codecs
import io
import json
import re
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

_BLANKS = " \t\n\r"
_MARK = re.compile(rf"[{_BLANKS}]*([,\]])[{_BLANKS}]*")
"""What follows an element of a JSON array."""
_IN_STRING = re.compile(r'["\\]')
_IN_VALUE = re.compile(r'["\[\]{}]')
_BETWEEN = re.compile(r'["\[\]{},]')


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


class _DuplicateKeyError(ValueError):
    """An object has a key twice, and a dict would lose the first value; the message is the key."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        (key, _), *_ = Counter(key for key, _ in pairs).most_common(1)
        raise _DuplicateKeyError(key)
    return value


_ANY = json.JSONDecoder()
_STRICT = json.JSONDecoder(object_pairs_hook=_object)


def skip_blanks(file: io.BufferedReader) -> tuple[int, bytes]:
    """Read up to what is not blank; return the lines passed and the byte there, b"" at the end."""
    lines = 0
    while head := file.peek():
        rest = head.lstrip()
        lines += file.read(len(head) - len(rest)).count(b"\n")
        if rest:
            return lines, rest[:1]
    return lines, b""


def json_value(line: str) -> Any:
    """Parse a line of JSON.

    Raises:
        ValueError: it is not JSON, or an object in it has a key twice.
    """
    return _STRICT.decode(line)


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
    return "duplicate_key" if isinstance(problem, _DuplicateKeyError) else "invalid_json"


def holds_array(file: io.BufferedReader) -> bool:
    """Return whether lines that begin with "[" are one JSON array of objects or texts, and not a list a line.

    Reads on in the file.
    """
    line = file.readline(ROW_BYTES)
    inner = line[1:].lstrip()[:1] or skip_blanks(file)[1]
    if inner not in (b"{", b'"'):
        return False  # a list a line is no use to anyone, but "[INFO] ..." is one bad line before good ones
    if not line.rstrip().endswith(b"]") or not skip_blanks(file)[1]:
        return True
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return True
    return False


def decoded(file: io.BufferedReader) -> io.TextIOWrapper:
    """Return the text of a file, with a lone surrogate for each byte that is not UTF-8."""
    return io.TextIOWrapper(file, "utf-8", "surrogateescape", newline="")


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
            value, stop, twice = _element(window, at)
            mark = _MARK.match(window, stop)
            if not mark:
                stop = len(window) - len(window[stop:].lstrip(_BLANKS))
                raise json.JSONDecodeError("Expecting ',' delimiter", window, stop)
        except (ValueError, RecursionError) as problem:
            place, told = getattr(problem, "pos", at), getattr(problem, "msg", str(problem))
            # What is cut fails at the window's end; but for a string, named by its start.
            cut = place > len(window) - 16 or told.startswith("Unterminated string")
            # Nested too deeply, or a number with too many digits: JSON all the same.
            too_much = not isinstance(problem, json.JSONDecodeError)
            held = len(window) - at
            if too_much or (cut and held > ROW_BYTES):
                head = window[at : at + DETAIL_CHARS]
                window, at, sign = _skip_element(window, at, text)
                if sign in (",", "]"):
                    yield RawRow(row, None, "invalid_json" if too_much else "too_long", detail(f"row {row}", head))
                    window, at, row, ended = window[at:].lstrip(_BLANKS), 0, row + 1, sign == "]"
                    continue
                place = at
            elif cut and (more := text.read(min(max(WINDOW, held), ROW_BYTES))):
                window, at = (window[at:] + more).lstrip(_BLANKS), 0
                continue
            near = repr(window[place : place + 40])
            raise InputError(f"{path}: row {row} is cut or not JSON: {told}: {near}") from None
        yield _checked_element(row, value, window[at:stop], twice)
        at, row, ended = mark.end(), row + 1, mark[1] == "]"
    rest = window[at:] or text.read(WINDOW)
    while rest.isspace():
        rest = text.read(WINDOW)
    if rest:
        raise InputError(f"{path}: goes on after its array; name a file of JSON lines .jsonl")


def _element(window: str, at: int) -> tuple[Any, int, _DuplicateKeyError | None]:
    """Parse a value; the last is set where an object in it has a key twice."""
    try:
        return *_STRICT.raw_decode(window, at), None
    except _DuplicateKeyError as problem:
        return *_ANY.raw_decode(window, at), problem


def _checked_element(row: int, value: Any, raw: str, twice: _DuplicateKeyError | None) -> RawRow:
    if len(raw) > ROW_BYTES:
        return RawRow(row, None, "too_long", detail(f"row {row}", raw))
    if twice:
        return RawRow(row, None, "duplicate_key", detail(f"row {row}", raw, twice))
    return checked(row, value, f"row {row}", raw)


def _skip_element(window: str, at: int, text: io.TextIOWrapper) -> tuple[str, int, str]:
    """Read past an element without holding it.

    Returns:
        A window, the place in it after the element and its mark, and the mark: "" where the text ends within.
    """
    depth, quoted = 0, False
    while window:
        sign = (_IN_STRING if quoted else _IN_VALUE if depth else _BETWEEN).search(window, at)
        if not sign:
            at = max(at - len(window), 0)
            window = text.read(WINDOW)
            continue
        at = sign.end()
        if sign[0] == "\\":
            at += 1
        elif sign[0] == '"':
            quoted = not quoted
        elif sign[0] in "[{":
            depth += 1
        elif depth:
            depth -= 1
        else:
            return window, at, sign[0]
    return window, 0, ""


def check_names(path: str, names: Sequence[str], columns: Collection[str] | None) -> None:
    """Check that no column stands twice among those that are read (None: all): the first would be lost.

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
    place = f"{place}: key {str(problem)[:100]!r} stands twice" if isinstance(problem, _DuplicateKeyError) else place
    data = raw[:DETAIL_CHARS].rstrip("\r\n").encode("utf-8", "surrogateescape")
    return f"{place}: {data.decode('utf-8', 'backslashreplace')[:DETAIL_CHARS]}"

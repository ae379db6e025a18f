"""JSON to raw rows: values of lines, and arrays element by element."""

import io
import json
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

from factory.errors import InputError
from factory.synthesis import input_formats
from factory.synthesis.input_formats import DuplicateKeyError, RawRow, checked, detail, skip_blanks

_BLANKS = " \t\n\r"
_MARK = re.compile(rf"[{_BLANKS}]*([,\]])[{_BLANKS}]*")
"""What follows an element of a JSON array."""
_IN_STRING = re.compile(r'["\\]')
_IN_VALUE = re.compile(r'["\[\]{}]')
_BETWEEN = re.compile(r'["\[\]{},]')


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        (key, _), *_ = Counter(key for key, _ in pairs).most_common(1)
        raise DuplicateKeyError(key)
    return value


_ANY = json.JSONDecoder()
_STRICT = json.JSONDecoder(object_pairs_hook=_object)


def json_value(line: str) -> Any:
    """Parse a line of JSON.

    Raises:
        ValueError: it is not JSON, or an object in it has a key twice.
    """
    return _STRICT.decode(line)


def holds_array(file: io.BufferedReader) -> bool:
    """Return whether lines that begin with "[" are one JSON array of objects or texts, and not a list a line.

    Reads on in the file.
    """
    line = file.readline(input_formats.ROW_BYTES)
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


def array_rows(path: str, text: io.TextIOWrapper) -> Iterator[RawRow]:
    """Parse element by element in a window of the text, which grows until one is whole in it.

    Not with ijson, which turns a lone surrogate into "?" and stops at NaN and at long numbers.
    """
    window, at, row, ended = text.read(input_formats.WINDOW)[1:].lstrip(_BLANKS), 0, 0, False
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
            if too_much or (cut and held > input_formats.ROW_BYTES):
                head = window[at : at + input_formats.DETAIL_CHARS]
                window, at, sign = _skip_element(window, at, text)
                if sign in (",", "]"):
                    yield RawRow(row, None, "invalid_json" if too_much else "too_long", detail(f"row {row}", head))
                    window, at, row, ended = window[at:].lstrip(_BLANKS), 0, row + 1, sign == "]"
                    continue
                place = at
            elif cut and (more := text.read(min(max(input_formats.WINDOW, held), input_formats.ROW_BYTES))):
                window, at = (window[at:] + more).lstrip(_BLANKS), 0
                continue
            near = repr(window[place : place + 40])
            raise InputError(f"{path}: row {row} is cut or not JSON: {told}: {near}") from None
        yield _checked_element(row, value, window[at:stop], twice)
        at, row, ended = mark.end(), row + 1, mark[1] == "]"
    rest = window[at:] or text.read(input_formats.WINDOW)
    while rest.isspace():
        rest = text.read(input_formats.WINDOW)
    if rest:
        raise InputError(f"{path}: goes on after its array; name a file of JSON lines .jsonl")


def _element(window: str, at: int) -> tuple[Any, int, DuplicateKeyError | None]:
    """Parse a value; the last is set where an object in it has a key twice."""
    try:
        return *_STRICT.raw_decode(window, at), None
    except DuplicateKeyError as problem:
        return *_ANY.raw_decode(window, at), problem


def _checked_element(row: int, value: Any, raw: str, twice: DuplicateKeyError | None) -> RawRow:
    if len(raw) > input_formats.ROW_BYTES:
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
            window = text.read(input_formats.WINDOW)
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

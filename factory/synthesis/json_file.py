"""JSON to raw rows: the values of lines, and arrays element by element."""

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
_SEPARATOR = re.compile(rf"[{_BLANKS}]*([,\]])[{_BLANKS}]*")
"""The comma or bracket after an element of a JSON array."""
_IN_STRING = re.compile(r'["\\]')
_IN_VALUE = re.compile(r'["\[\]{}]')
_BETWEEN = re.compile(r'["\[\]{},]')


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        (key, _), *_ = Counter(key for key, _ in pairs).most_common(1)
        raise DuplicateKeyError(key)
    return value


_LENIENT = json.JSONDecoder()
_STRICT = json.JSONDecoder(object_pairs_hook=_object)


def json_value(line: str) -> Any:
    """Parse a line of JSON.

    Raises:
        ValueError: it is not JSON, or an object in it has a key twice.
    """
    return _STRICT.decode(line)


def holds_array(file: io.BufferedReader) -> bool:
    """Return whether lines that begin with "[" are one JSON array of objects or texts, and not one list per line.

    Reads further in the file.
    """
    line = file.readline(input_formats.ROW_BYTES)
    inner = line[1:].lstrip()[:1] or skip_blanks(file)[1]
    if inner not in (b"{", b'"'):
        return False  # no format has a list per line, but "[INFO] ..." is a bad line before good ones
    if not line.rstrip().endswith(b"]") or not skip_blanks(file)[1]:
        return True
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return True
    return False


def array_rows(path: str, text: io.TextIOWrapper) -> Iterator[RawRow]:
    """Yield the elements, parsed one by one in a window of the text that grows until an element fits.

    ijson is not used because it turns a lone surrogate into "?" and stops at NaN and at long numbers.
    """
    window, at, row, ended = text.read(input_formats.WINDOW)[1:].lstrip(_BLANKS), 0, 0, False
    while not ended:
        if row == 0 and window.startswith("]"):
            at = 1
            break
        try:
            value, stop, duplicate = _element(window, at)
            separator = _SEPARATOR.match(window, stop)
            if not separator:
                rest = window[stop:].lstrip(_BLANKS)
                blank = window[stop : len(window) - len(rest)][:1]  # only one, because the size counts it
                window = window[:stop] + blank + rest
                raise json.JSONDecodeError("Expecting ',' delimiter", window, stop + len(blank))
        except (ValueError, RecursionError) as problem:
            position, message = getattr(problem, "pos", at), getattr(problem, "msg", str(problem))
            # An incomplete element fails at the window's end; only strings are reported by their start.
            cut = position > len(window) - 16 or message.startswith("Unterminated string")
            # Nested too deeply, or a number with too many digits, which is still JSON.
            unsupported = not isinstance(problem, json.JSONDecodeError)
            size = len(window) - at
            if unsupported or (cut and size > input_formats.ROW_BYTES + 1):
                head = window[at : at + input_formats.DETAIL_CHARS]
                window, at, sign = _skip_element(window, at, text)
                if sign in (",", "]"):
                    yield RawRow(row, None, "invalid_json" if unsupported else "too_long", detail(f"row {row}", head))
                    window, at, row, ended = window[at:].lstrip(_BLANKS), 0, row + 1, sign == "]"
                    continue
                position = at
            elif cut and (more := text.read(min(max(input_formats.WINDOW, size), input_formats.ROW_BYTES))):
                window, at = (window[at:] + more).lstrip(_BLANKS), 0
                continue
            near = repr(window[position : position + 40])
            raise InputError(f"{path}: row {row} is cut or not JSON: {message}: {near}") from None
        yield _checked_element(row, value, window[at:stop], duplicate)
        at, row, ended = separator.end(), row + 1, separator[1] == "]"
    rest = window[at:] or text.read(input_formats.WINDOW)
    while rest.isspace():
        rest = text.read(input_formats.WINDOW)
    if rest:
        raise InputError(f"{path}: has text after its array; name a file of JSON lines .jsonl")


def _element(window: str, at: int) -> tuple[Any, int, DuplicateKeyError | None]:
    """Return a value, its end, and an error where an object in it has a key twice."""
    try:
        return *_STRICT.raw_decode(window, at), None
    except DuplicateKeyError as problem:
        return *_LENIENT.raw_decode(window, at), problem


def _checked_element(row: int, value: Any, raw: str, duplicate: DuplicateKeyError | None) -> RawRow:
    if len(raw) > input_formats.ROW_BYTES:
        return RawRow(row, None, "too_long", detail(f"row {row}", raw))
    if duplicate:
        return RawRow(row, None, "duplicate_key", detail(f"row {row}", raw, duplicate))
    return checked(row, value, f"row {row}", raw)


def _skip_element(window: str, at: int, text: io.TextIOWrapper) -> tuple[str, int, str]:
    """Read past an element without keeping it.

    Returns:
        A window, the position in it after the element's separator, and the separator: "" where the text ends first.
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

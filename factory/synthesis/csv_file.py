"""CSV to raw rows, as csv.reader parses it, with any of several delimiters and a bound on records."""

import csv
import io
from collections.abc import Collection, Iterator
from itertools import chain, zip_longest
from statistics import fmean

from factory.errors import InputError
from factory.synthesis import input_formats
from factory.synthesis.input_formats import RawRow, check_distinct, checked, detail

DELIMITERS = ",;\t|"
HEAD_CHARS = 2**16
"""Characters of a file by which its delimiter is detected."""
HEAD_RECORDS = 50

_END = "\ud800"
"""A last line that no file has: decoding never yields this character."""
_BYTE_ORDER_MARK = "\ufeff"


class _RecordTooLongError(Exception):
    """A record exceeds the bound."""


class _Lines:
    """The physical lines of a file for csv.reader; the lines of one record are bounded together."""

    def __init__(self, text: io.TextIOWrapper) -> None:
        head = text.read(HEAD_CHARS)
        self.delimiter = _delimiter(head, len(head) < HEAD_CHARS)
        head += text.readline(input_formats.ROW_BYTES)
        self._parts = chain(io.StringIO(head, newline=""), iter(lambda: text.readline(input_formats.ROW_BYTES), ""))
        self._record: list[str] = []
        self._size = 0
        self._ended = False
        self.number = 0
        """The number of lines that were read."""

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = next(self._parts, _END)
        if self._ended:
            raise StopIteration
        self._ended = line == _END
        self.number += 1
        if not self._record:
            # Also at records in the middle, because files with a byte order mark may have been joined.
            line = line.removeprefix(_BYTE_ORDER_MARK)
        self._record.append(line)
        self._size += len(line)
        if self._size > input_formats.ROW_BYTES or (len(line) >= input_formats.ROW_BYTES and not _ends(line)):
            raise _RecordTooLongError
        return line

    def begin(self) -> None:
        """Begin a new record."""
        self._record.clear()
        self._size = 0

    def head(self) -> str:
        """Return the beginning of the current record."""
        return "".join(part[: input_formats.DETAIL_CHARS] for part in self._record[:100])[: input_formats.DETAIL_CHARS]

    def skip(self) -> bool:
        """Read to the end of the current record; return False where the file ends within its quotes."""
        state, first = _FIELD_START, len(self._record)
        for number, part in enumerate(chain(self._record, self._parts)):
            state = _state_after(part, state, self.delimiter)
            self.number += number >= first and _ends(part)
            if _ends(part) and state != _QUOTED:
                return True
        return state != _QUOTED


_FIELD_START, _FIELD, _QUOTED, _QUOTE = range(4)
"""Parser states; `_QUOTE` is a quote within quotes, and another one after it belongs to the text."""


def _state_after(part: str, state: int, delimiter: str) -> int:
    """Return csv.reader's state after a part of a record; a line end may only be its last character."""
    at = 0
    while at < len(part):
        if state == _QUOTED:
            at = part.find('"', at) + 1
            if not at:
                return _QUOTED
            state = _QUOTE
        elif part[at] == '"' and state in (_FIELD_START, _QUOTE):
            at, state = at + 1, _QUOTED
        else:
            at = part.find(delimiter, at) + 1
            if not at:
                return _FIELD
            state = _FIELD_START
    return state


def _ends(line: str) -> bool:
    return line.endswith(("\n", "\r"))


def _delimiter(head: str, whole: bool) -> str:
    """Return the delimiter that gives the header several cells, and the most records as many; by default a comma.

    csv.Sniffer is not used because it takes letters for delimiters.
    """
    best, best_fraction = ",", -1.0
    for delimiter in DELIMITERS:
        records = [cells for cells in csv.reader(io.StringIO(head, newline=""), delimiter=delimiter) if cells]
        if not whole:
            del records[-1:]  # it may be incomplete
        header, others = (records or [[]])[0], records[1:HEAD_RECORDS]
        fraction = fmean(len(cells) == len(header) for cells in others) if others else 0.0
        if len(header) > 1 and fraction > best_fraction:
            best, best_fraction = delimiter, fraction
    return best


def csv_rows(path: str, text: io.TextIOWrapper, columns: Collection[str] | None) -> Iterator[RawRow]:
    """Yield the records under a header, whose names are stripped.

    Raises:
        InputError: a quote is never closed, or a column that is read (`columns`; None: any) appears twice.
    """
    csv.field_size_limit(2**31 - 1)  # _Lines bounds records
    lines = _Lines(text)
    records = csv.reader(lines, delimiter=lines.delimiter)
    header: list[str] = []
    row, first = 0, 1
    while True:
        cells: list[str] | None = []
        try:
            cells = next(records, None)
        except _RecordTooLongError:
            head = lines.head()
            if not lines.skip():
                raise _unclosed(path, first, "the file ends in it") from None
            if not header:
                raise InputError(
                    f"{path}: its header is longer than {input_formats.ROW_BYTES:,} characters; is it CSV?"
                ) from None
            yield RawRow(row, None, "too_long", detail(f"line {first}", head))
            row += 1
            records = csv.reader(lines, delimiter=lines.delimiter)
        except csv.Error as problem:
            raise _unclosed(path, first, str(problem)) from None
        if cells is None:
            return
        if cells and cells[-1].endswith(_END):
            if cells != [_END]:
                raise _unclosed(path, first, "the file ends in it")
        elif cells and not header:
            header = [name.strip() for name in cells]
            check_distinct(path, header, columns)
        elif cells:
            yield _row(row, first, header, cells)
            row += 1
        first = lines.number + 1
        lines.begin()


def _unclosed(path: str, first: int, why: str) -> InputError:
    return InputError(f"{path}: a record from line {first} on does not end ({why}); close its quote")


def _row(row: int, first: int, header: list[str], cells: list[str]) -> RawRow:
    raw = ",".join(cells)
    if [cell.strip() for cell in cells] == header:
        # Where files were joined, the header of the second one is among the rows.
        return RawRow(row, None, "repeated_header", detail(f"line {first}", raw))
    value: dict[str | None, object] = dict(zip_longest(header, cells[: len(header)]))
    if len(cells) > len(header):
        value[None] = cells[len(header) :]
    return checked(row, value, f"line {first}", raw)

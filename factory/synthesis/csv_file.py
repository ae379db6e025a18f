"""CSV to raw rows, as csv.reader parses it: a bound on records, and whatever delimiter the file has."""

import csv
import io
from collections.abc import Collection, Iterator
from itertools import chain, zip_longest
from statistics import fmean

from factory.errors import InputError
from factory.synthesis import input_formats
from factory.synthesis.input_formats import RawRow, check_names, checked, detail

DELIMITERS = ",;\t|"
HEAD_CHARS = 2**16
"""How much of a file its delimiter is chosen by."""
HEAD_RECORDS = 50

_END = "\ud800"
"""A last line that no file has: decoding never makes this character."""
_MARK = "\ufeff"


class _RecordTooLongError(Exception):
    """A record passes the bound."""


class _Lines:
    """The physical lines of a file for csv.reader; those of one record are bounded together."""

    def __init__(self, text: io.TextIOWrapper) -> None:
        head = text.read(HEAD_CHARS)
        self.delimiter = _delimiter(head, len(head) < HEAD_CHARS)
        head += text.readline(input_formats.ROW_BYTES)
        self._parts = chain(io.StringIO(head, newline=""), iter(lambda: text.readline(input_formats.ROW_BYTES), ""))
        self._record: list[str] = []
        self._size = 0
        self._ended = False
        self.number = 0
        """The lines read so far."""

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = next(self._parts, _END)
        if self._ended:
            raise StopIteration
        self._ended = line == _END
        self.number += 1
        if not self._record:
            # Also where a record begins in the middle: files that have a mark may have been joined.
            line = line.removeprefix(_MARK)
        self._record.append(line)
        self._size += len(line)
        if self._size > input_formats.ROW_BYTES or (len(line) >= input_formats.ROW_BYTES and not _ends(line)):
            raise _RecordTooLongError
        return line

    def begin(self) -> None:
        """Forget the record before."""
        self._record.clear()
        self._size = 0

    def head(self) -> str:
        """Return how the record at hand begins."""
        return "".join(part[: input_formats.DETAIL_CHARS] for part in self._record[:100])[: input_formats.DETAIL_CHARS]

    def skip(self) -> bool:
        """Read to the end of the record at hand; return False where the file ends within its quotes."""
        state, first = _FIELD_START, len(self._record)
        for number, part in enumerate(chain(self._record, self._parts)):
            state = _state_after(part, state, self.delimiter)
            self.number += number >= first and _ends(part)
            if _ends(part) and state != _QUOTED:
                return True
        return state != _QUOTED


_FIELD_START, _FIELD, _QUOTED, _QUOTE = range(4)
"""Where in a record a character stands; after `_QUOTE`, within quotes, another quote is one of the text."""


def _state_after(part: str, state: int, delimiter: str) -> int:
    """Follow csv.reader's states through a part of a record, which ends at a line's end if it has one."""
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
    """Return the delimiter by which the header has several cells, and the first records as many as it has.

    Not csv.Sniffer's, which takes letters for delimiters. A comma where no delimiter does.
    """
    best, most = ",", -1.0
    for delimiter in DELIMITERS:
        records = [cells for cells in csv.reader(io.StringIO(head, newline=""), delimiter=delimiter) if cells]
        if not whole:
            del records[-1:]  # it may be cut
        header, others = (records or [[]])[0], records[1:HEAD_RECORDS]
        alike = fmean(len(cells) == len(header) for cells in others) if others else 0.0
        if len(header) > 1 and alike > most:
            best, most = delimiter, alike
    return best


def csv_rows(path: str, text: io.TextIOWrapper, columns: Collection[str] | None) -> Iterator[RawRow]:
    """Read records under a header, whose names lose the spaces around them.

    Raises:
        InputError: a quote is never closed, or a column that is read (`columns`; None: any) stands twice.
    """
    csv.field_size_limit(2**31 - 1)  # records have a bound of their own
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
                raise _endless(path, first, "the file ends in it") from None
            if not header:
                raise InputError(
                    f"{path}: its header is longer than {input_formats.ROW_BYTES:,} characters; is it CSV?"
                ) from None
            yield RawRow(row, None, "too_long", detail(f"line {first}", head))
            row += 1
            records = csv.reader(lines, delimiter=lines.delimiter)
        except csv.Error as problem:
            raise _endless(path, first, str(problem)) from None
        if cells is None:
            return
        if cells and cells[-1].endswith(_END):
            if cells != [_END]:
                raise _endless(path, first, "the file ends in it")
        elif cells and not header:
            header = [name.strip() for name in cells]
            check_names(path, header, columns)
        elif cells:
            yield _row(row, first, header, cells)
            row += 1
        first = lines.number + 1
        lines.begin()


def _endless(path: str, first: int, why: str) -> InputError:
    return InputError(f"{path}: a record from line {first} on does not end ({why}); close its quote")


def _row(row: int, first: int, header: list[str], cells: list[str]) -> RawRow:
    raw = ",".join(cells)
    if [cell.strip() for cell in cells] == header:
        # Where files were joined the header of the second stands among the rows.
        return RawRow(row, None, "repeated_header", detail(f"line {first}", raw))
    value: dict[str | None, object] = dict(zip_longest(header, cells[: len(header)]))
    if len(cells) > len(header):
        value[None] = cells[len(header) :]
    return checked(row, value, f"line {first}", raw)

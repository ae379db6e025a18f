"""Footers of shards: counts without the rows, and what of a file's damage they find."""

import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from factory.errors import DamagedError
from factory.records import Completion, Counts, Reject
from factory.storage import file_io, footers
from factory.storage.rows import rejected_row
from factory.storage.schemas import PERSONAS
from factory.storage.tables import Table
from tests.unit.test_tables import persona_row

WRITTEN = Counts(300, {"invalid_reply": 1}, prompt_tokens=3, output_tokens=2)


@pytest.fixture
def table(tmp_path) -> Table:
    """Return a table with one shard of 301 rows."""
    made = Table(str(tmp_path), "profiles")
    reject = rejected_row(Reject("invalid_reply", "x"), {"character_id": "c"}, Completion((), 3, 2))
    rows = [persona_row(f"a baker, number {number}", number) for number in range(300)]
    assert made.write("0", [*rows, reject], PERSONAS) == WRITTEN
    return made


def shard(table: Table) -> str:
    return f"{table.path}/0.parquet"


def test_counts_are_read_without_the_rows(table, monkeypatch):
    monkeypatch.setattr(file_io, "read_bytes", lambda path: pytest.fail(f"all of {path} was read"))
    assert table.count("0") == WRITTEN


def test_footer_longer_than_the_tail_is_read(table, monkeypatch):
    monkeypatch.setattr(footers, "TAIL_BYTES", 100)
    assert table.count("0") == WRITTEN


def test_shard_of_an_earlier_version_is_counted_by_its_rows(table):
    rows = table.read("0")
    buffer = io.BytesIO()
    pq.write_table(rows, buffer, compression="zstd", write_page_checksum=True)
    file_io.write_bytes(shard(table), buffer.getvalue())
    assert footers.counts_in(footers.read_footer(shard(table))) is None
    assert table.count("0") == WRITTEN


def test_shard_without_thoughts_of_an_earlier_version_is_read(table):
    rows = table.read("0").drop_columns(["thoughts", "thought_tokens"])
    table.write_arrow("old", rows)
    assert table.count("old") == WRITTEN
    read = table.read("old")
    assert read.schema == PERSONAS
    assert read["thoughts"].null_count == read.num_rows
    assert read.drop_columns(["thoughts", "thought_tokens"]) == rows
    columns = ["status", "thoughts", "character_id"]
    assert table.read("old", columns).select(columns) == table.read("0", columns)
    with pytest.raises(DamagedError):
        table.read("old", ["no_such_column"])
    assert pa.concat_tables([read, table.read("0")]).num_rows == 602


def test_changed_counts_are_counted_again(table):
    whole = file_io.read_bytes(shard(table))
    for number in (b'"ok": 300', b'"output_tokens": 2'):
        assert number in whole
        file_io.write_bytes(shard(table), whole.replace(number, number[:-1] + b"7"))
        assert table.count("0") == WRITTEN


@pytest.mark.parametrize("name", ["empty", "truncated", "without its begin", "with a hole", "longer", "no footer"])
def test_missing_bytes_are_damage(table, name):
    whole = file_io.read_bytes(shard(table))
    middle = len(whole) // 4
    damaged = {
        "empty": b"",
        "truncated": whole[:-1],
        "without its begin": whole[middle:],
        "with a hole": whole[:middle] + whole[middle + 1 :],
        "longer": whole[:middle] + b"x" + whole[middle:],
        "no footer": bytes(len(whole)),
    }[name]
    file_io.write_bytes(shard(table), damaged)
    with pytest.raises(DamagedError, match="is damaged"):
        table.count("0")


def test_changed_page_is_found_when_it_is_read(table):
    whole = file_io.read_bytes(shard(table))
    file_io.write_bytes(shard(table), whole[:100] + bytes([whole[100] ^ 1]) + whole[101:])
    assert table.count("0") == WRITTEN, "the pages are not read"
    with pytest.raises(DamagedError):
        table.read("0")

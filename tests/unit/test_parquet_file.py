"""Parquet to raw rows."""

import os

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from factory.errors import InputError
from factory.synthesis.input_files import check_column, read_rows
from factory.synthesis.input_formats import RawRow
from tests.raw_rows import quick, texts, values, values_before_error, write


@pytest.fixture(scope="module")
def scratch(tmp_path_factory):
    return tmp_path_factory.mktemp("rows")


@quick
@given(st.lists(st.fixed_dictionaries({"persona": texts | st.none(), "turns": st.lists(texts)})))
def test_parquet_comes_back(scratch, rows):
    schema = pa.schema([("persona", pa.string()), ("turns", pa.list_(pa.string()))])
    path = scratch / "rows.parquet"
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), path)
    assert values(path) == rows


def test_unneeded_columns_are_not_read(tmp_path):
    column = pa.array(["a", "b"])
    twins = pa.StructArray.from_arrays([column, column], names=["x", "x"])
    table = {
        "persona": column,
        "zone": pa.array([0, 1], pa.timestamp("us", tz="Mars/Olympus")),
        "far": pa.array([1, 2**50]).cast(pa.timestamp("s")),
        "twins": twins,
        "persona.dotted": column,
        "raw": pa.array([b"\xff", b"\xfe"]).view(pa.string()),
    }
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table(table), path)
    assert [row.value for row in read_rows(path, ["persona"])] == [{"persona": "a"}, {"persona": "b"}]
    names = dict.fromkeys(table)
    assert [row.value for row in read_rows(path, ["none"])] == [names, names]
    assert [row.value for row in read_rows(path, ["none", "persona"])] == [names | {"persona": t} for t in "ab"]
    check_column(str(path), "persona")
    with pytest.raises(
        InputError, match=r"no column 'none'; it has: 'persona', 'zone', 'far', 'twins', 'persona\.dotted'"
    ):
        check_column(str(path), "none")


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (pa.array([1, 2**50]).cast(pa.timestamp("s")), "OverflowError"),
        (pa.array([1, 2], pa.timestamp("us", tz="Mars/Olympus")), "Mars/Olympus"),
        (pa.StructArray.from_arrays([pa.array([1, 2])] * 2, names=["x", "x"]), "duplicate field"),
    ],
)
def test_unsupported_values_are_row_errors(tmp_path, column, message):
    pq.write_table(pa.table({"x": column}), tmp_path / "a.parquet")
    *_, last = read_rows(tmp_path / "a.parquet")
    assert (last.row, last.value, last.error) == (1, None, "not_text")
    assert last.detail.startswith("row 1: ")
    assert message in last.detail


def test_batches_are_bounded(tmp_path):
    large = [f"{n}" + "x" * 2**20 for n in range(64)]
    table = pa.table({"persona": [*large, *map(str, range(5000))], "wide": ["y" * 1000] * 5064})
    # A page, which is read whole, has this many values.
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=64, use_dictionary=False, write_batch_size=1)
    del table
    before = pa.total_allocated_bytes()
    peak, rows = 0, 0
    for row in read_rows(tmp_path / "a.parquet", ["persona"]):
        assert len(row.value) == 1
        peak, rows = max(peak, pa.total_allocated_bytes() - before), rows + 1
    assert rows == 5064
    assert peak < 40 * 2**20, "of 64 MiB in a group of rows"


def test_rows_that_are_not_utf8_are_row_errors(tmp_path):
    column = pa.array([b"a", b"caf\xe9", b"b"]).view(pa.string())
    pq.write_table(pa.table({"x": column}), tmp_path / "a.parquet")
    assert list(read_rows(str(tmp_path / "a.parquet"))) == [
        RawRow(0, {"x": "a"}),
        RawRow(1, None, "not_utf8", r"row 1: caf\xe9"),
        RawRow(2, {"x": "b"}),
    ]


def test_damaged_parquet_is_reported(tmp_path):
    pq.write_table(pa.table({"x": [os.urandom(50).hex() for _ in range(100)]}), tmp_path / "whole")
    whole = (tmp_path / "whole").read_bytes()
    for name, data in {"cut": whole[:-20], "text": b"hello" * 100, "nothing": b""}.items():
        path = write(tmp_path / f"{name}.parquet", data)
        values_before_error(path, "is damaged or not parquet")
        with pytest.raises(InputError, match="is damaged or not parquet"):
            check_column(path, "x")


def test_parquet_without_rows_is_reported(tmp_path):
    pq.write_table(pa.table({"x": pa.array([], pa.string())}), tmp_path / "a.parquet")
    with pytest.raises(InputError, match="has no rows"):
        check_column(str(tmp_path / "a.parquet"), "x")

"""Raw rows of all file formats, and of files of lines."""

import io
import json
import math
import os
import tracemalloc

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from factory.errors import InputError, StorageError
from factory.synthesis import input_formats, opening
from factory.synthesis.input_files import find_files, read_rows
from factory.synthesis.input_formats import RawRow
from tests.raw_rows import COMPRESS, json_values, quick, texts, values, values_before_error, write


@pytest.fixture(scope="module")
def scratch(tmp_path_factory):
    return tmp_path_factory.mktemp("rows")


plain_texts = texts.filter(lambda text: not text.startswith("\ufeff"))
"""Texts without a byte order mark, which is dropped at the start of a line."""


@quick
@given(st.lists(json_values), st.sampled_from(list(COMPRESS)), st.sampled_from([".jsonl", ".ndjson"]))
def test_json_lines_come_back(scratch, rows, compression, suffix):
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    path = scratch / f"rows{suffix}{compression}"
    path.write_bytes(COMPRESS[compression](lines.encode()))
    one_array = len(rows) == 1 and isinstance(rows[0], list) and isinstance((rows[0] or [0])[0], dict | str)
    assert values(path) == (rows[0] if one_array else rows)


@quick
@given(st.lists(plain_texts), st.sampled_from(list(COMPRESS)), st.sampled_from(["\n", "\r\n"]))
def test_text_lines_come_back(scratch, lines, compression, newline):
    lines = [line.replace("\n", " ").rstrip("\r") for line in lines]
    path = scratch / f"rows.txt{compression}"
    path.write_bytes(COMPRESS[compression](newline.join(lines).encode()))
    found = values(path)
    assert found == [line for line in lines if line and not line.encode().isspace()]


def test_rows_of_lines_have_line_numbers(tmp_path):
    for name in ("a.jsonl", "a.json", "a.txt"):
        path = write(tmp_path / name, "\n  \n1\n\n2\n   \n")
        assert [row.row for row in read_rows(path)] == [2, 4]


def test_other_rows_have_record_numbers(tmp_path):
    csv_file = write(tmp_path / "a.csv", '\nx,y\n"1\n1",2\n\n3,4\n')
    array = write(tmp_path / "a.json", "[\n\n{},\n\n{}]")
    pq.write_table(pa.table({"x": range(5000)}), tmp_path / "a.parquet")
    assert [row.row for row in read_rows(csv_file)] == [0, 1]
    assert [row.row for row in read_rows(array)] == [0, 1]
    rows = list(read_rows(str(tmp_path / "a.parquet")))
    assert [row.row for row in rows] == [row.value["x"] for row in rows] == list(range(5000))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.jsonl", '{"x": "1"}\r\n{"x": "2"}\r\n'),
        ("a.json", '[{"x": "1"},\r\n{"x": "2"}]\r\n'),
        ("a.csv", "x\r\n1\r\n2\r\n"),
    ],
)
def test_byte_order_mark_and_crlf_are_dropped(tmp_path, name, text):
    assert values(write(tmp_path / name, "\ufeff" + text)) == [{"x": "1"}, {"x": "2"}]


def test_byte_order_mark_and_crlf_of_text_are_dropped(tmp_path):
    assert values(write(tmp_path / "a.txt", "\ufeffone\r\ntwo")) == ["one", "two"]


def test_byte_order_marks_of_joined_files_are_dropped(tmp_path):
    mark = "\ufeff"
    assert values(write(tmp_path / "a.jsonl", f'{mark}"a"\n{mark}"b\u200b{mark}"\n{mark}\n')) == ["a", f"b\u200b{mark}"]
    assert values(write(tmp_path / "a.txt", f"{mark}a\n{mark}b\n{mark}\n")) == ["a", "b"]
    first, again, second = read_rows(
        write(tmp_path / "a.csv", f'{mark}x,y\na,"{mark}1"\n{mark}"x",y\n{mark}"b, c",2\n')
    )
    assert (first.value, second.value) == ({"x": "a", "y": f"{mark}1"}, {"x": "b, c", "y": "2"})
    assert again == RawRow(1, None, "repeated_header", "line 3: x,y")


def test_duplicate_columns_are_reported(tmp_path):
    path = write(tmp_path / "a.csv", "persona,n, persona,n,,\na,1,b,2,,\n")
    table = pa.table([["a"], ["1"], ["b"], ["2"]], names=["persona", "n", "persona", "n"])
    pq.write_table(table, tmp_path / "a.parquet")
    for file in (path, str(tmp_path / "a.parquet")):
        for columns in (None, ["persona"]):
            with pytest.raises(InputError, match="has the column 'persona' twice; rename or drop one") as problem:
                list(read_rows(file, columns))
            assert str(problem.value).startswith(f"{file}: ")
    pq.write_table(table.rename_columns(["persona", "n", "n", "n"]), tmp_path / "a.parquet")
    for file in (write(tmp_path / "a.csv", "persona,n,n,,\na,1,2,,\n"), tmp_path / "a.parquet"):
        (row,) = read_rows(file, ["persona"])
        assert row.value["persona"] == "a", "unread columns may be repeated"


@pytest.mark.parametrize("wrap", ["%s\n", "[%s]"])
def test_duplicate_keys_are_row_errors(tmp_path, wrap):
    texts = ['{"persona": "", "persona": "a baker"}', '{"m": [{"role": 1, "x": 2, "role": 3}]}']
    for text, key in zip(texts, ["persona", "role"], strict=True):
        path = write(tmp_path / "a.json", wrap % text)
        position = "line 1" if wrap.endswith("\n") else "row 0"
        assert list(read_rows(path)) == [
            RawRow(0, None, "duplicate_key", f"{position}: key '{key}' appears twice: {text}")
        ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(input_formats, "WINDOW", 20)
        path = write(tmp_path / "a.json", '[1, {"a": 1, "a": "abcdefghijklmnopqrst"}, 2]')
        assert [row.error for row in read_rows(path)] == ["", "duplicate_key", ""]


def test_compressed_files_of_many_parts_are_read(tmp_path):
    for compression in (".gz", ".zst"):
        parts = [COMPRESS[compression](f"{number}\n".encode()) for number in range(3)]
        assert values(write(tmp_path / f"a.jsonl{compression}", b"".join(parts))) == [0, 1, 2]


@pytest.mark.parametrize("wrap", ["%s\n", "[%s]"])
def test_unusual_json_values_are_kept(tmp_path, wrap):
    text = r'{"a": "\ud800", "b": "\u0000", "c": NaN, "d": 1e999, "e": 123456789012345678901234567890}'
    (value,) = values(write(tmp_path / "a.json", wrap % text))
    assert (value["a"], value["b"]) == ("\ud800", "\0")
    assert math.isnan(value["c"])
    assert (value["d"], value["e"]) == (math.inf, 123456789012345678901234567890)


def test_nul_characters_are_kept(tmp_path):
    assert values(write(tmp_path / "a.csv", "x\na\0b\n")) == [{"x": "a\0b"}]
    assert values(write(tmp_path / "a.txt", "a\0b\n")) == ["a\0b"]


@pytest.mark.parametrize(
    ("suffix", "frame", "size"),
    [
        (".jsonl", '{"x": "%s"}', 30_000_000),
        (".json", '[{"x": "%s"}]', 20_000_000),
        (".csv", 'x\n"%s"', 20_000_000),
        (".txt", "%s", 20_000_000),
    ],
)
def test_very_long_lines_are_one_row(tmp_path, suffix, frame, size):
    path = write(tmp_path / f"a{suffix}", frame % ("ä" * (size // 2)) + "\n")
    (value,) = values(path)
    assert len(value if suffix == ".txt" else value["x"]) == size // 2


@pytest.mark.parametrize("suffix", [".jsonl", ".json", ".csv", ".txt", ".jsonl.zst"])
def test_memory_does_not_grow_with_the_file(tmp_path, monkeypatch, suffix):
    monkeypatch.setattr(opening, "REQUEST_BYTES", 2**16)
    monkeypatch.setattr(input_formats, "WINDOW", 2**16)
    line, count = json.dumps("x" * 998) + "\n", 4_000
    lines = "[" + ",".join([line] * count) + "]" if suffix == ".json" else line * count
    compressed = zstandard.compress(lines.encode()) if suffix.endswith(".zst") else lines.encode()
    path = write(tmp_path / f"a{suffix}", compressed)
    tracemalloc.start()
    try:
        assert sum(1 for _ in read_rows(path)) >= count - 1
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


@quick
@given(st.lists(st.integers(0, 300)), st.integers(1, 60), st.booleans())
def test_lines_over_the_bound_are_rejected_rows(scratch, lengths, bound, ended):
    lines = ["x" * length for length in lengths]
    path = write(scratch / "long.txt", "\n".join(lines) + "\n" * ended)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(input_formats, "ROW_BYTES", bound)
        patch.setattr(input_formats, "WINDOW", 7)
        rows = list(read_rows(path))
    kept = [(number, line) for number, line in enumerate(lines) if line]
    assert [row.row for row in rows] == [number for number, _ in kept]
    for row, (number, line) in zip(rows, kept, strict=True):
        whole = line + "\n" * (ended or number < len(lines) - 1)
        if len(whole) > bound:
            assert (row.error, row.value) == ("too_long", None)
            assert row.detail == f"line {number + 1}: {line[:bound]}"
        else:
            assert (row.error, row.value) == ("", line)


@pytest.mark.slow
def test_huge_lines_take_no_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(opening, "REQUEST_BYTES", 2**16)
    for name in ("ROW_BYTES", "WINDOW"):
        monkeypatch.setattr(input_formats, name, 2**16)
    for suffix, before, after in [
        (".jsonl", '"a"\n', '\n"b"'),
        (".txt", "a\n", "\nb"),
        (".json", '["a",', ', "b"]'),
        (".csv", 'x\na\n"', '"\nb\n'),
    ]:
        piece = b'{"nested": ["quoted \\" ]"]}, ' * 40_000 if suffix == ".json" else b"x" * 1_000_000
        compressed = io.BytesIO()
        with zstandard.ZstdCompressor().stream_writer(compressed, closefd=False) as writer:
            writer.write(before.encode() + b"[" * (suffix == ".json"))
            for _ in range(30):
                writer.write(piece)
            writer.write(b"0]" * (suffix == ".json") + after.encode())
        path = write(tmp_path / f"a{suffix}.zst", compressed.getvalue())
        tracemalloc.start()
        try:
            rows = list(read_rows(path))
            assert tracemalloc.get_traced_memory()[1] < 3_000_000
        finally:
            tracemalloc.stop()
        assert [row.error for row in rows] == ["", "too_long", ""], suffix
        assert len(rows[1].detail) <= 2100


def test_invalid_json_lines_are_row_errors(tmp_path):
    path = write(tmp_path / "a.jsonl", '1\n{"a": \n\n' + "[" * 100_000 + "\n" + "9" * 5000 + "\n2")
    rows = list(read_rows(path))
    assert [(row.row, row.error) for row in rows] == [
        (0, ""),
        (1, "invalid_json"),
        (3, "invalid_json"),
        (4, "invalid_json"),
        (5, ""),
    ]
    assert rows[1] == RawRow(1, None, "invalid_json", 'line 2: {"a": ')
    assert rows[2].detail == "line 4: " + "[" * 2000


def test_lines_that_are_not_utf8_are_row_errors(tmp_path):
    for suffix in (".jsonl", ".txt"):
        path = write(tmp_path / f"a{suffix}", b'"a"\n"caf\xe9"\r\n' + b"\xff" * 9000 + b'\n"b"\n')
        first, cafe, long, last = read_rows(path)
        assert (first.error, last.error, last.row) == ("", "", 3)
        assert cafe == RawRow(1, None, "not_utf8", r'line 2: "caf\xe9"')
        assert long.detail == "line 3: " + r"\xff" * 500


def test_utf16_gives_only_row_errors(tmp_path):
    path = write(tmp_path / "a.jsonl", '"one"\n"two"'.encode("utf-16"))
    assert {row.error for row in read_rows(path)} <= {"not_utf8", "invalid_json"}


@pytest.mark.parametrize(("compression", "kind"), [(".gz", "gzip"), (".zst", "zstd")])
def test_damaged_compressed_files_are_reported(tmp_path, compression, kind):
    whole = COMPRESS[compression](b"".join(os.urandom(50).hex().encode() + b"\n" for _ in range(1000)))
    broken = {
        "cut": whole[: len(whole) // 2],
        "cut at its end": whole[:-1],
        "damaged": whole[:20_000] + b"\0" * 100 + whole[20_100:],
        "plain": b'{"a": 1}\n' * 100,
        "garbage after": whole + b"garbage",
    }
    for name, data in broken.items():
        path = write(tmp_path / f"{name}.txt{compression}", data)
        values_before_error(path, f"is damaged or not {kind}")


def test_missing_and_unknown_files_are_reported(tmp_path):
    with pytest.raises(InputError, match=r"gone\.jsonl: does not exist"):
        list(read_rows(str(tmp_path / "gone.jsonl")))
    with pytest.raises(InputError, match=r"a\.xlsx: not a known format; known are \.jsonl"):
        list(read_rows(write(tmp_path / "a.xlsx", "x")))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_missing_permissions_are_reported(tmp_path):
    path = write(tmp_path / "a.jsonl", "{}")
    os.chmod(path, 0)
    with pytest.raises(StorageError, match=r"a\.jsonl: no permission"):
        list(read_rows(path))
    (tmp_path / "closed").mkdir(mode=0)
    with pytest.raises(StorageError, match=r"no permission .*closed"):
        find_files(str(tmp_path))

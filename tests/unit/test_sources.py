import csv
import gzip
import io
import json
import math
import os
import tracemalloc
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from factory.errors import InputError, StorageError
from factory.storage.shuffle import BYTES_PER_SPILL
from factory.synthesis import input_formats, opening
from factory.synthesis.input_files import FILES_PER_TASK, check_column, find_files, read_rows, split_into_tasks
from factory.synthesis.input_formats import RawRow
from factory.synthesis.opening import SourceFile

PUBLIC_DATA = Path(__file__).parents[3] / "shared" / "data"
PACK = {"": bytes, ".gz": gzip.compress, ".zst": zstandard.compress}

quick = settings(max_examples=40, deadline=None)  # the first example pays for imports
# UTF-8 holds no lone surrogates.
texts = st.text(st.characters(exclude_categories=["Cs"]))
plain_texts = texts.filter(lambda text: not text.startswith("\ufeff"))
"""A byte order mark at the start of a line is no part of a text."""
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


def write(path, data):
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return str(path)


def values(path):
    rows = list(read_rows(path))
    assert [row.error for row in rows] == [""] * len(rows)
    return [row.value for row in rows]


def public(name):
    path = PUBLIC_DATA / name
    if not path.exists():
        pytest.skip(f"{path} is missing: the public samples are not part of the project")
    return str(path)


@pytest.fixture(scope="module")
def scratch(tmp_path_factory):
    return tmp_path_factory.mktemp("sources")


# What was written comes back.


@quick
@given(st.lists(json_values), st.sampled_from(list(PACK)), st.sampled_from([".jsonl", ".ndjson"]))
def test_json_lines_come_back(scratch, rows, packing, suffix):
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    path = scratch / f"rows{suffix}{packing}"
    path.write_bytes(PACK[packing](lines.encode()))
    one_array = len(rows) == 1 and isinstance(rows[0], list) and isinstance((rows[0] or [0])[0], dict | str)
    assert values(path) == (rows[0] if one_array else rows)


@quick
@given(st.lists(json_values), st.sampled_from(list(PACK)), st.sampled_from([None, 1]), st.booleans())
def test_a_json_array_comes_back(scratch, rows, packing, indent, as_ascii):
    text = "\n " + json.dumps(rows, indent=indent, ensure_ascii=as_ascii)
    path = scratch / f"rows.json{packing}"
    path.write_bytes(PACK[packing](text.encode("utf-8", "replace")))
    assert values(path) == json.loads(text.encode("utf-8", "replace"))


@quick
@given(st.lists(json_values), st.integers(1, 40), st.sampled_from([None, 1, 20]))
def test_a_json_array_comes_back_through_a_window_of_any_size(scratch, rows, window, indent):
    path = scratch / "window.json"
    path.write_text(json.dumps(rows, indent=indent))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(input_formats, "WINDOW", window)
        assert values(path) == rows


@quick
@given(st.lists(st.fixed_dictionaries({"persona": texts, "n": texts})), st.sampled_from(list(PACK)))
def test_csv_comes_back(scratch, rows, packing):
    text = io.StringIO()
    writer = csv.DictWriter(text, ["persona", "n"], quoting=csv.QUOTE_ALL)
    writer.writeheader()
    writer.writerows(rows)
    path = scratch / f"rows.csv{packing}"
    path.write_bytes(PACK[packing](text.getvalue().encode()))
    assert values(path) == rows


@quick
@given(st.lists(st.fixed_dictionaries({"persona": texts | st.none(), "turns": st.lists(texts)})))
def test_parquet_comes_back(scratch, rows):
    schema = pa.schema([("persona", pa.string()), ("turns", pa.list_(pa.string()))])
    path = scratch / "rows.parquet"
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), path)
    assert values(path) == rows


@quick
@given(st.lists(plain_texts), st.sampled_from(list(PACK)), st.sampled_from(["\n", "\r\n"]))
def test_lines_of_text_come_back_but_for_blank_ones(scratch, lines, packing, newline):
    lines = [line.replace("\n", " ").rstrip("\r") for line in lines]
    path = scratch / f"rows.txt{packing}"
    path.write_bytes(PACK[packing](newline.join(lines).encode()))
    found = values(path)
    assert found == [line for line in lines if line and not line.encode().isspace()]


def test_rows_of_lines_are_numbered_by_line_and_blank_lines_counted(tmp_path):
    for name in ("a.jsonl", "a.json", "a.txt"):
        path = write(tmp_path / name, "\n  \n1\n\n2\n   \n")
        assert [row.row for row in read_rows(path)] == [2, 4]


def test_rows_of_csv_arrays_and_parquet_are_numbered_by_record(tmp_path):
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
def test_a_byte_order_mark_and_crlf_are_no_part_of_a_row(tmp_path, name, text):
    assert values(write(tmp_path / name, "\ufeff" + text)) == [{"x": "1"}, {"x": "2"}]


def test_a_byte_order_mark_and_crlf_are_no_part_of_a_text(tmp_path):
    assert values(write(tmp_path / "a.txt", "\ufeffone\r\ntwo")) == ["one", "two"]


def test_a_json_file_without_an_array_holds_json_lines(tmp_path):
    assert values(write(tmp_path / "a.json", ' \n{"a": 1}\n{"a": 2}')) == [{"a": 1}, {"a": 2}]
    assert values(write(tmp_path / "b.jsonl", "[1]\n[2]\n")) == [[1], [2]]


@pytest.mark.parametrize(
    "text",
    [
        '[{"a": 1}, {"a": 2}]',
        ' \n[{"a": 1},\n{"a": 2}]\n\n',
        '[\n\n  {\n    "a": 1\n  },\n  {"a": 2}\n]',
        '\ufeff[{"a": 1}, {"a": 2}]\r\n',
    ],
)
def test_an_array_in_a_file_of_lines_is_an_array(tmp_path, text):
    for suffix in (".jsonl", ".ndjson"):
        assert values(write(tmp_path / f"a{suffix}", text)) == [{"a": 1}, {"a": 2}]
        check_column(str(tmp_path / f"a{suffix}"), "a")


def test_lists_a_line_and_bad_first_lines_are_no_array(tmp_path):
    lists = write(tmp_path / "a.jsonl", '["a", "b"]\n["c"]\n')
    assert values(lists) == [["a", "b"], ["c"]]
    for first in ("[INFO] begins", "[3"):
        bad, good = read_rows(write(tmp_path / "b.jsonl", f'{first}\n\n{{"a": 1}}\n'))
        assert (bad.error, good.value) == ("invalid_json", {"a": 1}), first


def test_marks_of_joined_files_are_no_part_of_a_row(tmp_path):
    mark = "\ufeff"
    assert values(write(tmp_path / "a.jsonl", f'{mark}"a"\n{mark}"b\u200b{mark}"\n{mark}\n')) == ["a", f"b\u200b{mark}"]
    assert values(write(tmp_path / "a.txt", f"{mark}a\n{mark}b\n{mark}\n")) == ["a", "b"]
    first, again, second = read_rows(
        write(tmp_path / "a.csv", f'{mark}x,y\na,"{mark}1"\n{mark}"x",y\n{mark}"b, c",2\n')
    )
    assert (first.value, second.value) == ({"x": "a", "y": f"{mark}1"}, {"x": "b, c", "y": "2"})
    assert again == RawRow(1, None, "repeated_header", "line 3: x,y")


@pytest.mark.parametrize("delimiter", ",;\t|")
@pytest.mark.parametrize("quoting", [csv.QUOTE_ALL, csv.QUOTE_MINIMAL])
def test_the_delimiter_is_found(tmp_path, delimiter, quoting):
    rows = [{"name": f"Ada, {n}; née |", "persona": f"a\nbaker, who\tsings; {n}"} for n in range(5)]
    text = io.StringIO()
    writer = csv.DictWriter(text, ["name", "persona"], quoting=quoting, delimiter=delimiter)
    writer.writeheader()
    writer.writerows(rows)
    assert values(write(tmp_path / "a.csv", text.getvalue())) == rows


@pytest.mark.parametrize(
    ("text", "row"),
    [
        ("persona\na baker; who sings\n", {"persona": "a baker; who sings"}),
        ("persona\na baker, who sings\n", {"persona": "a baker", None: [" who sings"]}),
        ("persona;age\na baker, who sings;34\n", {"persona": "a baker, who sings", "age": "34"}),
        ("persona,what; why\na baker;x,y;z\n", {"persona": "a baker;x", "what; why": "y;z"}),
        ("a;b,c\n1;2;3,4\n5;6,7\n", {"a;b": "1;2;3", "c": "4"}),
        ("a;b,c\n1;2,3,4\n5;6,7\n", {"a": "1", "b,c": "2,3,4"}),
    ],
)
def test_the_delimiter_is_that_of_header_and_records(tmp_path, text, row):
    assert values(write(tmp_path / "a.csv", text))[0] == row


def test_a_delimiter_is_found_in_a_large_file(tmp_path):
    rows = [{"persona": f"a baker, {n}", "n": "x" * 50} for n in range(5000)]
    text = "persona;n\n" + "".join(f"{row['persona']};{row['n']}\r\n" for row in rows)
    assert values(write(tmp_path / "a.csv", text)) == rows


def test_spaces_around_a_csv_name_are_no_part_of_it(tmp_path):
    path = write(tmp_path / "a.csv", "name, persona \nAda,a baker\n")
    assert values(path) == [{"name": "Ada", "persona": "a baker"}]
    check_column(path, "persona")


def test_a_message_shows_the_spaces_of_a_name(tmp_path):
    with pytest.raises(InputError, match=r"it has: ' persona', 'n  x'$"):
        check_column(write(tmp_path / "a.jsonl", '{" persona": "a baker", "n  x": 1}'), "persona")


def test_a_column_that_is_read_must_not_stand_twice(tmp_path):
    path = write(tmp_path / "a.csv", "persona,n, persona,n,,\na,1,b,2,,\n")
    twins = pa.table([["a"], ["1"], ["b"], ["2"]], names=["persona", "n", "persona", "n"])
    pq.write_table(twins, tmp_path / "a.parquet")
    for file in (path, str(tmp_path / "a.parquet")):
        for columns in (None, ["persona"]):
            with pytest.raises(InputError, match="has the column 'persona' twice; rename or drop one") as caught:
                list(read_rows(file, columns))
            assert str(caught.value).startswith(f"{file}: ")
    pq.write_table(twins.rename_columns(["persona", "n", "n", "n"]), tmp_path / "a.parquet")
    for file in (write(tmp_path / "a.csv", "persona,n,n,,\na,1,2,,\n"), tmp_path / "a.parquet"):
        (row,) = read_rows(file, ["persona"])
        assert row.value["persona"] == "a", "what is not read may stand as often as it likes"


@pytest.mark.parametrize("wrap", ["%s\n", "[%s]"])
def test_a_key_that_stands_twice_is_an_error_of_the_row(tmp_path, wrap):
    texts = ['{"persona": "", "persona": "a baker"}', '{"m": [{"role": 1, "x": 2, "role": 3}]}']
    for text, key in zip(texts, ["persona", "role"], strict=True):
        path = write(tmp_path / "a.json", wrap % text)
        place = "line 1" if wrap.endswith("\n") else "row 0"
        assert list(read_rows(path)) == [
            RawRow(0, None, "duplicate_key", f"{place}: key '{key}' appears twice: {text}")
        ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(input_formats, "WINDOW", 20)
        path = write(tmp_path / "a.json", '[1, {"a": 1, "a": "abcdefghijklmnopqrst"}, 2]')
        assert [row.error for row in read_rows(path)] == ["", "duplicate_key", ""]


def test_an_element_that_python_cannot_parse_is_an_error_of_its_row(tmp_path):
    for much in ("[" * 100_000 + "]" * 100_000, '{"a": ' + "9" * 5000 + "}"):
        path = write(tmp_path / "a.json", f'["a", {much}, "b"]')
        good, bad, last = read_rows(path)
        assert (good.value, bad.error, last.value) == ("a", "invalid_json", "b")
        assert bad.detail == f"row 1: {much[:2000]}"


# Of Parquet, the columns that are needed.


def test_columns_that_nobody_needs_are_not_read(tmp_path):
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
    ("column", "why"),
    [
        (pa.array([1, 2**50]).cast(pa.timestamp("s")), "OverflowError"),
        (pa.array([1, 2], pa.timestamp("us", tz="Mars/Olympus")), "Mars/Olympus"),
        (pa.StructArray.from_arrays([pa.array([1, 2])] * 2, names=["x", "x"]), "duplicate field"),
    ],
)
def test_a_value_that_python_cannot_hold_is_an_error_of_its_row(tmp_path, column, why):
    pq.write_table(pa.table({"x": column}), tmp_path / "a.parquet")
    *_, last = read_rows(tmp_path / "a.parquet")
    assert (last.row, last.value, last.error) == (1, None, "not_text")
    assert last.detail.startswith("row 1: ")
    assert why in last.detail


def test_parquet_is_read_in_batches_of_bounded_size(tmp_path):
    large = [f"{n}" + "x" * 2**20 for n in range(64)]
    table = pa.table({"persona": [*large, *map(str, range(5000))], "wide": ["y" * 1000] * 5064})
    # A page, which is read whole, has so many values.
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=64, use_dictionary=False, write_batch_size=1)
    del table
    before = pa.total_allocated_bytes()
    peak, rows = 0, 0
    for row in read_rows(tmp_path / "a.parquet", ["persona"]):
        assert len(row.value) == 1
        peak, rows = max(peak, pa.total_allocated_bytes() - before), rows + 1
    assert rows == 5064
    assert peak < 40 * 2**20, "of 64 MiB in a group of rows"


def test_a_json_array_may_stand_after_more_blanks_than_a_buffer(tmp_path, monkeypatch):
    monkeypatch.setattr(opening, "REQUEST_BYTES", 16)
    assert values(write(tmp_path / "a.json", " \n" * 50 + "[ 1 ]" + "\n" * 50)) == [1]
    assert values(write(tmp_path / "b.json", " \n" * 50 + "1\n")) == [1]
    assert values(write(tmp_path / "c.json", "[" + " " * 50 + "]")) == []


def test_gzip_and_zstd_of_many_parts_are_read_to_the_end(tmp_path):
    for packing in (".gz", ".zst"):
        parts = [PACK[packing](f"{number}\n".encode()) for number in range(3)]
        assert values(write(tmp_path / f"a.jsonl{packing}", b"".join(parts))) == [0, 1, 2]


# What is odd stays as it is.


@pytest.mark.parametrize("wrap", ["%s\n", "[%s]"])
def test_lone_surrogates_nul_nan_and_long_numbers_are_what_json_makes_of_them(tmp_path, wrap):
    text = r'{"a": "\ud800", "b": "\u0000", "c": NaN, "d": 1e999, "e": 123456789012345678901234567890}'
    (value,) = values(write(tmp_path / "a.json", wrap % text))
    assert (value["a"], value["b"]) == ("\ud800", "\0")
    assert math.isnan(value["c"])
    assert (value["d"], value["e"]) == (math.inf, 123456789012345678901234567890)


def test_nul_bytes_in_csv_and_text_are_kept(tmp_path):
    assert values(write(tmp_path / "a.csv", "x\na\0b\n")) == [{"x": "a\0b"}]
    assert values(write(tmp_path / "a.txt", "a\0b\n")) == ["a\0b"]


def test_a_ragged_csv_row_keeps_every_cell(tmp_path):
    path = write(tmp_path / "a.csv", "x,y\n1\n1,2\n1,2,3,4\n")
    assert values(path) == [{"x": "1", "y": None}, {"x": "1", "y": "2"}, {"x": "1", "y": "2", None: ["3", "4"]}]


@pytest.mark.parametrize(
    ("suffix", "frame", "size"),
    [
        (".jsonl", '{"x": "%s"}', 30_000_000),
        (".json", '[{"x": "%s"}]', 20_000_000),
        (".csv", 'x\n"%s"', 20_000_000),
        (".txt", "%s", 20_000_000),
    ],
)
def test_a_very_long_line_is_one_row(tmp_path, suffix, frame, size):
    path = write(tmp_path / f"a{suffix}", frame % ("ä" * (size // 2)) + "\n")
    (value,) = values(path)
    assert len(value if suffix == ".txt" else value["x"]) == size // 2


@pytest.mark.parametrize("suffix", [".jsonl", ".json", ".csv", ".txt", ".jsonl.zst"])
def test_memory_does_not_grow_with_the_file(tmp_path, monkeypatch, suffix):
    monkeypatch.setattr(opening, "REQUEST_BYTES", 2**16)
    monkeypatch.setattr(input_formats, "WINDOW", 2**16)
    line, count = json.dumps("x" * 998) + "\n", 4_000
    lines = "[" + ",".join([line] * count) + "]" if suffix == ".json" else line * count
    packed = zstandard.compress(lines.encode()) if suffix.endswith(".zst") else lines.encode()
    path = write(tmp_path / f"a{suffix}", packed)
    tracemalloc.start()
    try:
        assert sum(1 for _ in read_rows(path)) >= count - 1
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


# What is longer than a row may be is passed over in bounded memory, and the rest goes on.


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


@quick
@given(st.lists(json_values), st.integers(1, 80), st.integers(1, 40), st.sampled_from([None, 1]))
def test_elements_over_the_bound_are_rejected_rows(scratch, rows, bound, window, indent):
    text = json.dumps(rows, indent=indent)
    path = write(scratch / "long.json", text)
    lengths = [len(raw) for raw in raw_elements(text)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(input_formats, "ROW_BYTES", bound)
        patch.setattr(input_formats, "WINDOW", window)
        found = list(read_rows(path))
    assert [(row.row, row.error) for row in found] == [
        (number, "too_long" if length > bound else "") for number, length in enumerate(lengths)
    ]
    assert [row.value for row in found if not row.error] == [
        row for row, length in zip(rows, lengths, strict=True) if length <= bound
    ]


def raw_elements(text):
    """How each element of an array is written."""
    at = 1 + len(text[1:]) - len(text[1:].lstrip())
    while not text.startswith("]", at):
        _, stop = json.JSONDecoder().raw_decode(text, at)
        yield text[at:stop]
        at = stop + len(text[stop:]) - len(text[stop:].lstrip(", \n"))


cells = st.text(st.sampled_from('ab",;\n\r \ufeff'), max_size=30)


@quick
@given(st.lists(st.tuples(cells, cells)), st.integers(20, 60), st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL]))
def test_csv_records_over_the_bound_are_rejected_rows(scratch, rows, bound, quoting):
    raws = []
    for row in rows:
        text = io.StringIO()
        csv.writer(text, quoting=quoting).writerow(row)
        raws.append(text.getvalue())
    path = write(scratch / "long.csv", "persona,n\r\n" + "".join(raws))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(input_formats, "ROW_BYTES", bound)
        found = list(read_rows(path))
    assert len(found) == len(rows)
    for row, raw, (persona, n) in zip(found, raws, rows, strict=True):
        raw = raw.removeprefix("\ufeff")  # of an unquoted text at the start of a line
        if len(raw) > bound:
            assert row.error == "too_long"
        elif len(raw) < bound:  # at the bound itself the line's end decides
            assert row.value == {"persona": persona.removeprefix("\ufeff" * (raw[0] != '"')), "n": n}


@pytest.mark.slow
def test_a_line_of_gigabytes_takes_no_memory(tmp_path, monkeypatch):
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
        packed = io.BytesIO()
        with zstandard.ZstdCompressor().stream_writer(packed, closefd=False) as writer:
            writer.write(before.encode() + b"[" * (suffix == ".json"))
            for _ in range(30):
                writer.write(piece)
            writer.write(b"0]" * (suffix == ".json") + after.encode())
        path = write(tmp_path / f"a{suffix}.zst", packed.getvalue())
        tracemalloc.start()
        try:
            rows = list(read_rows(path))
            assert tracemalloc.get_traced_memory()[1] < 3_000_000
        finally:
            tracemalloc.stop()
        assert [row.error for row in rows] == ["", "too_long", ""], suffix
        assert len(rows[1].detail) <= 2100


# A row that cannot be read is a row with an error, and the rest goes on.


def test_a_line_that_is_not_json_is_an_error_and_the_rest_goes_on(tmp_path):
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


def test_a_line_that_is_not_utf8_is_an_error_and_the_rest_goes_on(tmp_path):
    for suffix in (".jsonl", ".txt"):
        path = write(tmp_path / f"a{suffix}", b'"a"\n"caf\xe9"\r\n' + b"\xff" * 9000 + b'\n"b"\n')
        first, cafe, long, last = read_rows(path)
        assert (first.error, last.error, last.row) == ("", "", 3)
        assert cafe == RawRow(1, None, "not_utf8", r'line 2: "caf\xe9"')
        assert long.detail == "line 3: " + r"\xff" * 500


def test_utf16_is_all_errors(tmp_path):
    path = write(tmp_path / "a.jsonl", '"one"\n"two"'.encode("utf-16"))
    assert {row.error for row in read_rows(path)} <= {"not_utf8", "invalid_json"}


def test_a_csv_row_that_is_not_utf8_is_an_error_and_the_rest_goes_on(tmp_path):
    path = write(tmp_path / "a.csv", b'x,y\n"1\n1",2\nM\xfcller,"3"\n4,5\n')
    good, bad, last = read_rows(path)
    assert bad == RawRow(1, None, "not_utf8", r"line 4: M\xfcller,3")
    assert (good.value, last.value) == ({"x": "1\n1", "y": "2"}, {"x": "4", "y": "5"})


def test_an_element_of_an_array_that_is_not_utf8_is_an_error_and_the_rest_goes_on(tmp_path):
    path = write(tmp_path / "a.json", b'["a", "caf\xe9", "b"]')
    assert list(read_rows(path)) == [
        RawRow(0, "a"),
        RawRow(1, None, "not_utf8", r'row 1: "caf\xe9"'),
        RawRow(2, "b"),
    ]


def test_a_parquet_row_that_is_not_utf8_is_an_error_and_the_rest_goes_on(tmp_path):
    column = pa.array([b"a", b"caf\xe9", b"b"]).view(pa.string())
    pq.write_table(pa.table({"x": column}), tmp_path / "a.parquet")
    assert list(read_rows(str(tmp_path / "a.parquet"))) == [
        RawRow(0, {"x": "a"}),
        RawRow(1, None, "not_utf8", r"row 1: caf\xe9"),
        RawRow(2, {"x": "b"}),
    ]


# A file that cannot be read on stops the run, in one line that names it.


def rows_before_the_error(path, match):
    rows = []
    with pytest.raises(InputError, match=match) as caught:
        rows.extend(row.value for row in read_rows(path))
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)
    return rows


@pytest.mark.parametrize(
    ("text", "before", "match"),
    [
        ('[{"a": 1}, {"a": 2}, {"a"', [{"a": 1}, {"a": 2}], "row 2 is cut or not JSON.*''"),
        ('[1, 2, "abc', [1, 2], "row 2 is cut or not JSON: Unterminated string"),
        ("[1, 2", [1], "row 1 is cut or not JSON"),
        ("[1, 2,", [1, 2], "row 2 is cut"),
        ("[1, nonsense, 3]", [1], "row 1 is .*not JSON.*'nonsense, 3]'"),
        ("[1 2]", [], "row 0 is .*Expecting ',' delimiter: '2]'"),
        ("[1,,2]", [1], "row 1 is"),
        ("[,1]", [], "row 0 is"),
        ("[", [], "row 0 is cut"),
        ("[" * 100_000, [], "row 0 is cut or not JSON: maximum recursion"),
        ("[1]\n[2]\n", [1], "has text after its array; name a file of JSON lines .jsonl"),
    ],
)
def test_an_array_that_is_cut_or_invalid_is_told_with_its_row(tmp_path, text, before, match):
    assert rows_before_the_error(write(tmp_path / "a.json", text), match) == before


@settings(max_examples=100, deadline=None)
@given(st.lists(json_values), st.integers(1, 100), st.sampled_from([*'"\\,:[]{}1-e \n', ""]), st.integers(1, 30))
def test_an_array_with_a_stray_character_is_refused_just_where_json_refuses_it(scratch, rows, at, stray, window):
    text = json.dumps(rows)
    text = text[:at] + stray + text[at + 1 :]
    path = write(scratch / "stray.json", text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(input_formats, "WINDOW", window)
        try:
            expected = json.loads(text)
        except ValueError:
            rows_before_the_error(path, "not JSON|has text after its array")
        else:
            assert repr(values(path)) == repr(expected)


def test_an_array_that_is_invalid_early_is_not_read_to_its_end(tmp_path, monkeypatch):
    monkeypatch.setattr(input_formats, "WINDOW", 1000)
    path = write(tmp_path / "a.json", '[1, {"a": oh no}' + ", 2" * 1_000_000 + "]")
    tracemalloc.start()
    try:
        assert rows_before_the_error(path, "row 1 is") == [1]
        assert tracemalloc.get_traced_memory()[1] < 10 * opening.REQUEST_BYTES
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(("packing", "kind"), [(".gz", "gzip"), (".zst", "zstd")])
def test_a_packed_file_that_is_cut_or_damaged_is_told(tmp_path, packing, kind):
    whole = PACK[packing](b"".join(os.urandom(50).hex().encode() + b"\n" for _ in range(1000)))
    broken = {
        "cut": whole[: len(whole) // 2],
        "cut at its end": whole[:-1],
        "damaged": whole[:20_000] + b"\0" * 100 + whole[20_100:],
        "plain": b'{"a": 1}\n' * 100,
        "garbage after": whole + b"garbage",
    }
    for name, data in broken.items():
        path = write(tmp_path / f"{name}.txt{packing}", data)
        rows_before_the_error(path, f"is damaged or not {kind}")


def test_parquet_that_is_cut_or_none_is_told(tmp_path):
    pq.write_table(pa.table({"x": [os.urandom(50).hex() for _ in range(100)]}), tmp_path / "whole")
    whole = (tmp_path / "whole").read_bytes()
    for name, data in {"cut": whole[:-20], "text": b"hello" * 100, "nothing": b""}.items():
        path = write(tmp_path / f"{name}.parquet", data)
        rows_before_the_error(path, "is damaged or not parquet")
        with pytest.raises(InputError, match="is damaged or not parquet"):
            check_column(path, "x")


def test_a_csv_quote_that_is_never_closed_is_told_and_bounded(tmp_path, monkeypatch):
    path = write(tmp_path / "a.csv", 'x,y\n1,2\n3,"4\n5,6\n')
    assert rows_before_the_error(path, "a record from line 3 on does not end.*close its quote") == [
        {"x": "1", "y": "2"}
    ]
    monkeypatch.setattr(input_formats, "ROW_BYTES", 1000)
    path = write(tmp_path / "b.csv", 'x,y\n1,2\n3,"4\n' + "5,6\n" * 1000)
    assert len(rows_before_the_error(path, "from line 3 on does not end")) == 1


def test_a_file_that_is_gone_or_of_no_known_format_is_told(tmp_path):
    with pytest.raises(InputError, match=r"gone\.jsonl: does not exist"):
        list(read_rows(str(tmp_path / "gone.jsonl")))
    with pytest.raises(InputError, match=r"a\.xlsx: not a known format; known are \.jsonl"):
        list(read_rows(write(tmp_path / "a.xlsx", "x")))


# check_column


def test_a_column_that_is_there_is_fine_and_one_that_is_not_is_told_with_those_that_are(tmp_path):
    pq.write_table(pa.table({"a": [1], "b": [2]}), tmp_path / "a.parquet")
    write(tmp_path / "a.csv", "a,b\n1\n")
    write(tmp_path / "a.jsonl", 'oops\n7\nnull\n{"a": 1, "b": 2}\n{"c": 3}\n')
    write(tmp_path / "a.json", '[{"a": 1, "b": 2}]')
    write(tmp_path / "a.jsonl.gz", gzip.compress(b'{"a": 1, "b": 2}'))
    for name in ("a.parquet", "a.csv", "a.jsonl", "a.json", "a.jsonl.gz"):
        path = str(tmp_path / name)
        check_column(path, "b")
        with pytest.raises(InputError, match=f"{name}: no column 'persona'; it has: 'a', 'b'$"):
            check_column(path, "persona")


def test_columns_that_are_not_utf8_are_told_in_characters_that_are(tmp_path):
    path = write(tmp_path / "a.csv", b"k\xfcnstler\nx\n")
    with pytest.raises(InputError, match=r"it has: 'k\\udcfcnstler'$") as caught:
        check_column(path, "persona")
    assert str(caught.value).isascii()


def test_text_has_no_columns(tmp_path):
    check_column(write(tmp_path / "a.txt", "one\n"), "persona")
    check_column(write(tmp_path / "a.json", '["one"]'), "persona")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.txt", "\n \n"), ("a.txt", "\ufeff"), ("a.jsonl", ""), ("a.json", ""), ("a.json", "[]"),
        ("a.csv", ""), ("a.csv", "x,y\n"), ("a.jsonl.gz", ""), ("a.csv.zst", ""),
    ],
)  # fmt: skip
def test_a_file_without_rows_is_told(tmp_path, name, text):
    with pytest.raises(InputError, match="has no rows"):
        check_column(write(tmp_path / name, text), "x")


def test_parquet_without_rows_is_told(tmp_path):
    pq.write_table(pa.table({"x": pa.array([], pa.string())}), tmp_path / "a.parquet")
    with pytest.raises(InputError, match="has no rows"):
        check_column(str(tmp_path / "a.parquet"), "x")


def test_json_spread_over_lines_is_told(tmp_path):
    path = write(tmp_path / "a.json", json.dumps({"persona": "a baker", "n": "x"}, indent=1))
    with pytest.raises(InputError, match="none of its 4 rows is an object"):
        check_column(path, "persona")


# find_files


@pytest.fixture
def tree(tmp_path):
    for name in ("b.jsonl", "a.csv", "readme.md", "run.jsonl.bak", ".hidden.jsonl", "_part.jsonl"):
        write(tmp_path / name, "x")
    for name in ("deep/er/c.JSON.GZ", "deep/d.parquet", "deep/e.parquet.gz", ".git/f.txt", "_tmp/g.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        write(tmp_path / name, "x")
    return tmp_path


def found(tree, source):
    return [str(Path(file).relative_to(tree)) for file in find_files(source)]


def test_a_folder_is_searched_to_its_depth_for_known_formats_that_are_not_hidden(tree):
    assert found(tree, str(tree)) == ["a.csv", "b.jsonl", "deep/d.parquet", "deep/er/c.JSON.GZ"]
    assert found(tree, f"{tree}/") == found(tree, f"file://{tree}") == found(tree, str(tree))


def test_a_glob_takes_known_formats_and_all_in_the_folders_that_it_matches(tree):
    assert found(tree, f"{tree}/*.jsonl") == [".hidden.jsonl", "_part.jsonl", "b.jsonl"]
    assert found(tree, f"{tree}/[ab].*") == ["a.csv", "b.jsonl"]
    assert found(tree, f"{tree}/de?p") == ["deep/d.parquet", "deep/er/c.JSON.GZ"]
    assert found(tree, f"{tree}/**/*.parquet") == ["deep/d.parquet"]


def test_many_sources_are_one_sorted_list_without_doubles(tree):
    assert found(tree, [f"{tree}/b.jsonl", f"{tree}/*.csv", f"{tree}/b.*"]) == ["a.csv", "b.jsonl"]


def test_a_file_by_its_name_is_taken_even_if_hidden_or_looking_like_a_glob(tree):
    assert found(tree, str(tree / "_part.jsonl")) == ["_part.jsonl"]
    write(tree / "[1]*?.jsonl", "x")
    assert found(tree, str(tree / "[1]*?.jsonl")) == ["[1]*?.jsonl"]


def test_a_listing_tells_size_and_change(tree):
    (before,) = find_files(f"{tree}/b.jsonl")
    assert find_files([str(tree)])[1] == before
    assert (before.size, before.changed) == (1, str(os.stat(before).st_mtime))
    write(tree / "b.jsonl", "xyz")
    os.utime(before, (1, 1))
    assert find_files(before.path) == [SourceFile(before.path, 3, "1.0")]


@given(st.lists(st.integers(0, 2 * BYTES_PER_SPILL), max_size=200))
def test_tasks_have_every_file_once_and_in_order(sizes):
    files = [SourceFile(f"{number}.jsonl", size, "") for number, size in enumerate(sizes)]
    tasks = split_into_tasks(files, None)
    assert [one for task in tasks for one in task] == list(enumerate(files))
    for task in tasks:
        assert 1 <= len(task) <= FILES_PER_TASK
        assert len(task) == 1 or sum(sizes[number] for number, _ in task) <= BYTES_PER_SPILL
    if files:
        assert len(split_into_tasks(files, 5)) == 1, "the first rows are those of the first files"


def test_small_files_share_tasks():
    files = [SourceFile(f"{number}.jsonl", 100, "") for number in range(2000)]
    assert len(split_into_tasks(files, None)) == 63


def test_a_path_from_the_current_folder_is_made_full(tree, monkeypatch):
    monkeypatch.chdir(tree)
    assert [file.path for file in find_files("b.jsonl")] == [str(tree / "b.jsonl")]


@pytest.mark.parametrize(
    ("source", "match"),
    [
        ("none.jsonl", "none.jsonl: does not exist; give a file, a folder or a glob"),
        ("none*.jsonl", r"none\*.jsonl: has no file of a known format; known are \.jsonl, \.ndjson"),
        ("readme.md", r"readme.md: not a known format; known are \.jsonl, .* and \.parquet"),
        ("deep/e.parquet.gz", "not a known format"),
        (".git/../_tmp/none/", "does not exist"),
        ("", "source '': is empty"),
        ((), r"source \(\): is empty"),
        (["b.jsonl", ""], "is empty"),
        (["b.jsonl", "none.jsonl"], "none.jsonl: does not exist"),
        ("nope://x/y.jsonl", "^nope://x/y.jsonl: Protocol not known: nope"),
        ("hf://datasets/one-part", "^hf://datasets/one-part: Invalid HF URI"),
        ("s3://", "^s3://: "),
    ],
)
def test_a_source_that_names_nothing_is_told(tree, monkeypatch, source, match):
    monkeypatch.chdir(tree)
    with pytest.raises(InputError, match=match) as caught:
        find_files(source)
    assert "\n" not in str(caught.value)


def test_a_folder_without_a_known_format_is_told(tmp_path):
    write(tmp_path / "readme.md", "x")
    for source in (str(tmp_path), f"{tmp_path}/*"):
        with pytest.raises(InputError, match=r"has no file of a known format; known are \.jsonl"):
            find_files(source)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_or_folder_that_must_not_be_read_is_told(tmp_path):
    path = write(tmp_path / "a.jsonl", "{}")
    os.chmod(path, 0)
    with pytest.raises(StorageError, match=r"a\.jsonl: no permission"):
        list(read_rows(path))
    (tmp_path / "closed").mkdir(mode=0)
    with pytest.raises(StorageError, match=r"no permission .*closed"):
        find_files(str(tmp_path))

"""JSON arrays to raw rows."""

import json
import tracemalloc

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from factory.synthesis import input_formats, opening
from factory.synthesis.input_files import check_column, read_rows
from factory.synthesis.input_formats import RawRow
from tests.raw_rows import COMPRESS, json_values, quick, values, values_before_error, write


@pytest.fixture(scope="module")
def scratch(tmp_path_factory):
    return tmp_path_factory.mktemp("rows")


@quick
@given(st.lists(json_values), st.sampled_from(list(COMPRESS)), st.sampled_from([None, 1]), st.booleans())
def test_json_arrays_come_back(scratch, rows, compression, indent, as_ascii):
    text = "\n " + json.dumps(rows, indent=indent, ensure_ascii=as_ascii)
    path = scratch / f"rows.json{compression}"
    path.write_bytes(COMPRESS[compression](text.encode("utf-8", "replace")))
    assert values(path) == json.loads(text.encode("utf-8", "replace"))


@quick
@given(st.lists(json_values), st.integers(1, 40), st.sampled_from([None, 1, 20]))
def test_json_arrays_come_back_through_any_window(scratch, rows, window, indent):
    path = scratch / "window.json"
    path.write_text(json.dumps(rows, indent=indent))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(input_formats, "WINDOW", window)
        assert values(path) == rows


def test_json_file_without_an_array_has_json_lines(tmp_path):
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
def test_array_in_a_file_of_lines_is_an_array(tmp_path, text):
    for suffix in (".jsonl", ".ndjson"):
        assert values(write(tmp_path / f"a{suffix}", text)) == [{"a": 1}, {"a": 2}]
        check_column(str(tmp_path / f"a{suffix}"), "a")


def test_lines_that_begin_like_an_array_are_lines(tmp_path):
    lists = write(tmp_path / "a.jsonl", '["a", "b"]\n["c"]\n')
    assert values(lists) == [["a", "b"], ["c"]]
    for first in ("[INFO] begins", "[3"):
        bad, good = read_rows(write(tmp_path / "b.jsonl", f'{first}\n\n{{"a": 1}}\n'))
        assert (bad.error, good.value) == ("invalid_json", {"a": 1}), first


def test_unsupported_elements_are_row_errors(tmp_path):
    for much in ("[" * 100_000 + "]" * 100_000, '{"a": ' + "9" * 5000 + "}"):
        path = write(tmp_path / "a.json", f'["a", {much}, "b"]')
        good, bad, last = read_rows(path)
        assert (good.value, bad.error, last.value) == ("a", "invalid_json", "b")
        assert bad.detail == f"row 1: {much[:2000]}"


def test_blanks_may_surround_an_array(tmp_path, monkeypatch):
    monkeypatch.setattr(opening, "REQUEST_BYTES", 16)
    assert values(write(tmp_path / "a.json", " \n" * 50 + "[ 1 ]" + "\n" * 50)) == [1]
    assert values(write(tmp_path / "b.json", " \n" * 50 + "1\n")) == [1]
    assert values(write(tmp_path / "c.json", "[" + " " * 50 + "]")) == []


@quick
@given(st.lists(json_values), st.integers(1, 80), st.integers(1, 40), st.sampled_from([None, 1]))
@example(rows=[0], bound=1, window=1, indent=1)
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
    """Yield the text of each element of an array."""
    at = 1 + len(text[1:]) - len(text[1:].lstrip())
    while not text.startswith("]", at):
        _, stop = json.JSONDecoder().raw_decode(text, at)
        yield text[at:stop]
        at = stop + len(text[stop:]) - len(text[stop:].lstrip(", \n"))


def test_elements_that_are_not_utf8_are_row_errors(tmp_path):
    path = write(tmp_path / "a.json", b'["a", "caf\xe9", "b"]')
    assert list(read_rows(path)) == [
        RawRow(0, "a"),
        RawRow(1, None, "not_utf8", r'row 1: "caf\xe9"'),
        RawRow(2, "b"),
    ]


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
def test_invalid_arrays_are_reported_with_the_row(tmp_path, text, before, match):
    assert values_before_error(write(tmp_path / "a.json", text), match) == before


@settings(max_examples=100, deadline=None)
@given(st.lists(json_values), st.integers(1, 100), st.sampled_from([*'"\\,:[]{}1-e \n', ""]), st.integers(1, 30))
def test_arrays_are_valid_where_json_is(scratch, rows, at, stray, window):
    text = json.dumps(rows)
    text = text[:at] + stray + text[at + 1 :]
    path = write(scratch / "stray.json", text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(input_formats, "WINDOW", window)
        try:
            expected = json.loads(text)
        except ValueError:
            values_before_error(path, "not JSON|has text after its array")
        else:
            assert repr(values(path)) == repr(expected)


def test_reading_stops_at_the_first_error(tmp_path, monkeypatch):
    monkeypatch.setattr(input_formats, "WINDOW", 1000)
    path = write(tmp_path / "a.json", '[1, {"a": oh no}' + ", 2" * 1_000_000 + "]")
    tracemalloc.start()
    try:
        assert values_before_error(path, "row 1 is") == [1]
        assert tracemalloc.get_traced_memory()[1] < 10 * opening.REQUEST_BYTES
    finally:
        tracemalloc.stop()

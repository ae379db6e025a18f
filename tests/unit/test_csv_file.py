"""CSV to raw rows."""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factory.synthesis import input_formats
from factory.synthesis.input_files import check_column, read_rows
from factory.synthesis.input_formats import RawRow
from tests.raw_rows import COMPRESS, quick, texts, values, values_before_error, write


@pytest.fixture(scope="module")
def scratch(tmp_path_factory):
    return tmp_path_factory.mktemp("rows")


@quick
@given(st.lists(st.fixed_dictionaries({"persona": texts, "n": texts})), st.sampled_from(list(COMPRESS)))
def test_csv_comes_back(scratch, rows, compression):
    text = io.StringIO()
    writer = csv.DictWriter(text, ["persona", "n"], quoting=csv.QUOTE_ALL)
    writer.writeheader()
    writer.writerows(rows)
    path = scratch / f"rows.csv{compression}"
    path.write_bytes(COMPRESS[compression](text.getvalue().encode()))
    assert values(path) == rows


@pytest.mark.parametrize("delimiter", ",;\t|")
@pytest.mark.parametrize("quoting", [csv.QUOTE_ALL, csv.QUOTE_MINIMAL])
def test_delimiter_is_detected(tmp_path, delimiter, quoting):
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
def test_delimiter_fits_header_and_records(tmp_path, text, row):
    assert values(write(tmp_path / "a.csv", text))[0] == row


def test_delimiter_is_detected_in_large_files(tmp_path):
    rows = [{"persona": f"a baker, {n}", "n": "x" * 50} for n in range(5000)]
    text = "persona;n\n" + "".join(f"{row['persona']};{row['n']}\r\n" for row in rows)
    assert values(write(tmp_path / "a.csv", text)) == rows


def test_column_names_are_stripped(tmp_path):
    path = write(tmp_path / "a.csv", "name, persona \nAda,a baker\n")
    assert values(path) == [{"name": "Ada", "persona": "a baker"}]
    check_column(path, "persona")


def test_ragged_rows_keep_every_cell(tmp_path):
    path = write(tmp_path / "a.csv", "x,y\n1\n1,2\n1,2,3,4\n")
    assert values(path) == [{"x": "1", "y": None}, {"x": "1", "y": "2"}, {"x": "1", "y": "2", None: ["3", "4"]}]


cells = st.text(st.sampled_from('ab",;\n\r \ufeff'), max_size=30)


@quick
@given(st.lists(st.tuples(cells, cells)), st.integers(20, 60), st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL]))
def test_records_over_the_bound_are_rejected_rows(scratch, rows, bound, quoting):
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


def test_records_that_are_not_utf8_are_row_errors(tmp_path):
    path = write(tmp_path / "a.csv", b'x,y\n"1\n1",2\nM\xfcller,"3"\n4,5\n')
    good, bad, last = read_rows(path)
    assert bad == RawRow(1, None, "not_utf8", r"line 4: M\xfcller,3")
    assert (good.value, last.value) == ({"x": "1\n1", "y": "2"}, {"x": "4", "y": "5"})


def test_unclosed_quotes_are_reported(tmp_path, monkeypatch):
    path = write(tmp_path / "a.csv", 'x,y\n1,2\n3,"4\n5,6\n')
    assert values_before_error(path, "a record from line 3 on does not end.*close its quote") == [{"x": "1", "y": "2"}]
    monkeypatch.setattr(input_formats, "ROW_BYTES", 1000)
    path = write(tmp_path / "b.csv", 'x,y\n1,2\n3,"4\n' + "5,6\n" * 1000)
    assert len(values_before_error(path, "from line 3 on does not end")) == 1

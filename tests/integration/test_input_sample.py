"""Previews of sources."""

import json
import os

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from factory.config import RunConfig
from factory.errors import InputError
from factory.synthesis import input_sample
from factory.synthesis.input_sample import preview_instructions, preview_personas


def make_config(personas, **section):
    tree = {"output": "x", "engine": {"kind": "scripted"}, "personas": {"source": str(personas), **section}}
    return RunConfig.model_validate(tree)


def lines(folder, name, rows):
    (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(input_sample, "READ_ROWS", 100)
    monkeypatch.setattr(input_sample, "COUNTED_ROWS", 1000)


def test_few_rows_are_read_and_counted(tmp_path, small):
    for part in range(3):
        lines(tmp_path, f"{part}.jsonl", [{"persona": f"a baker, {part} {n}"} for n in range(30)])
    lines(tmp_path, "2.jsonl", [{"persona": f"a baker, 1 {n}"} for n in range(30)])
    seen = preview_personas(make_config(tmp_path), [])
    assert (seen.rows, seen.exact, seen.whole, seen.files, seen.read) == (90, True, True, 3, 90)
    assert (seen.accepted, seen.usable, seen.rejected) == (60, 60, {"duplicate": 30})
    assert 10 < seen.characters < 20


def test_more_rows_are_counted_and_usable_ones_estimated(tmp_path, small):
    rows = [{"persona": f"a baker, {n}"} if n % 4 else {"persona": ""} for n in range(800)]
    lines(tmp_path, "a.jsonl", rows)
    seen = preview_personas(make_config(tmp_path), [])
    assert (seen.rows, seen.exact, seen.whole, seen.read) == (800, True, False, 100)
    assert (seen.accepted, seen.usable, seen.rejected) == (75, 600, {"empty": 25})
    few = preview_personas(make_config(tmp_path, limit=60), [])
    assert (few.rows, few.whole, few.accepted, few.usable) == (60, True, 45, 45)
    some = preview_personas(make_config(tmp_path, limit=500), [])
    assert (some.rows, some.exact, some.whole, some.usable) == (500, True, False, 375)


def test_many_rows_are_estimated_from_file_sizes(tmp_path, small):
    lines(tmp_path, "a.jsonl", [{"persona": f"a baker, {n:06}"} for n in range(9000)])
    seen = preview_personas(make_config(tmp_path), [])
    assert (seen.exact, seen.whole) == (False, False)
    assert seen.rows == pytest.approx(9000, rel=0.15)
    os.unlink(tmp_path / "a.jsonl")
    for name in ("a", "b"):
        # Two thirds of the file are an unread column.
        table = {
            "persona": [f"a baker, {name} {n:06}" for n in range(4500)],
            "vector": [[n / 7] * 40 for n in range(4500)],
        }
        pq.write_table(pa.table(table), tmp_path / f"{name}.parquet")
    seen = preview_personas(make_config(tmp_path), [])
    assert (seen.exact, seen.rows) == (False, 9000)
    assert preview_personas(make_config(tmp_path, limit=2000), []).rows == 2000


def test_only_some_of_many_files_are_read(tmp_path, small, monkeypatch):
    for part in range(30):
        lines(tmp_path, f"{part:02}.jsonl", [{"persona": f"a baker, {part:02} {n}"} for n in range(part % 3)])
    monkeypatch.setattr(input_sample, "COUNTED_FILES", 12)
    seen = preview_personas(make_config(tmp_path), [])
    assert (seen.rows, seen.exact, seen.read, seen.files) == (30, False, 18, 20)
    first = preview_personas(make_config(tmp_path, limit=7), [])
    assert (first.rows, first.whole, first.read) == (7, True, 7)


def test_unusable_first_rows_are_no_error(tmp_path, small):
    lines(tmp_path, "a.jsonl", [{"persona": ""}] * 200 + [{"persona": "a baker"}])
    seen = preview_personas(make_config(tmp_path), [])
    assert (seen.whole, seen.accepted, seen.usable) == (False, 0, 0)


def test_turns_are_counted(tmp_path):
    lines(tmp_path, "p.jsonl", [{"persona": "a baker"}])
    lines(
        tmp_path,
        "q.jsonl",
        [{"conversations": ["q", "a"] * n} for n in (1, 2, 3)] + [{"conversations": ["q"] * 5000 + [7]}],
    )
    tree = make_config(tmp_path / "p.jsonl").model_dump()
    tree["instructions"] = [{"corpus": "c", "source": str(tmp_path / "q.jsonl")}]
    seen, form = preview_instructions(RunConfig.model_validate(tree), 0, [])
    assert form == "lima"
    assert (seen.accepted, seen.turns, seen.characters) == (3, 2, 4)


def test_rows_over_their_quotas_are_not_counted_as_usable(tmp_path, small):
    section = {"quotas": [{"by": "sex", "shares": {"female": 1, "male": 1}}]}
    lines(tmp_path, "a.jsonl", [{"persona": f"a baker, {n}", "sex": "male" if n % 5 else "female"} for n in range(90)])
    seen = preview_personas(make_config(tmp_path, **section), [])
    over = seen.rejected["over_quota"]
    assert seen.whole
    assert seen.accepted + over == 90
    assert 35 <= seen.accepted <= 37  # 18 women and as many men
    lines(tmp_path, "a.jsonl", [{"persona": f"a baker, {n}", "sex": "male" if n % 5 else "female"} for n in range(800)])
    many = preview_personas(make_config(tmp_path, **section), [])
    assert 300 <= many.usable <= 340


def test_a_value_that_no_row_has_is_an_error_where_all_rows_were_read(tmp_path, small):
    section = {"quotas": [{"by": "sex", "shares": {"female": 1, "male": 1}}]}
    lines(tmp_path, "a.jsonl", [{"persona": f"a baker, {n}", "sex": "male"} for n in range(800)])
    assert preview_personas(make_config(tmp_path, **section), []).usable == 800
    with pytest.raises(InputError, match="no row has sex female"):
        preview_personas(make_config(tmp_path, limit=50, **section), [])

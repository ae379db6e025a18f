"""Input files: finding them, checking their columns, and splitting them into tasks."""

import gzip
import json
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from factory.errors import InputError
from factory.storage.shuffle import BYTES_PER_SPILL
from factory.synthesis.input_files import FILES_PER_TASK, check_column, find_files, split_into_tasks
from factory.synthesis.opening import SourceFile
from tests.raw_rows import write


def test_missing_columns_are_reported_with_the_others(tmp_path):
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


def test_messages_quote_column_names(tmp_path):
    with pytest.raises(InputError, match=r"it has: ' persona', 'n  x'$"):
        check_column(write(tmp_path / "a.jsonl", '{" persona": "a baker", "n  x": 1}'), "persona")


def test_column_names_that_are_not_utf8_are_escaped(tmp_path):
    path = write(tmp_path / "a.csv", b"k\xfcnstler\nx\n")
    with pytest.raises(InputError, match=r"it has: 'k\\udcfcnstler'$") as problem:
        check_column(path, "persona")
    assert str(problem.value).isascii()


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
def test_files_without_rows_are_reported(tmp_path, name, text):
    with pytest.raises(InputError, match="has no rows"):
        check_column(write(tmp_path / name, text), "x")


def test_json_over_several_lines_is_reported(tmp_path):
    path = write(tmp_path / "a.json", json.dumps({"persona": "a baker", "n": "x"}, indent=1))
    with pytest.raises(InputError, match="none of its 4 rows is an object"):
        check_column(path, "persona")


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


def test_folders_are_searched_recursively(tree):
    assert found(tree, str(tree)) == ["a.csv", "b.jsonl", "deep/d.parquet", "deep/er/c.JSON.GZ"]
    assert found(tree, f"{tree}/") == found(tree, f"file://{tree}") == found(tree, str(tree))


def test_globs_match_files_and_folders(tree):
    assert found(tree, f"{tree}/*.jsonl") == [".hidden.jsonl", "_part.jsonl", "b.jsonl"]
    assert found(tree, f"{tree}/[ab].*") == ["a.csv", "b.jsonl"]
    assert found(tree, f"{tree}/de?p") == ["deep/d.parquet", "deep/er/c.JSON.GZ"]
    assert found(tree, f"{tree}/**/*.parquet") == ["deep/d.parquet"]


def test_sources_are_one_sorted_list(tree):
    assert found(tree, [f"{tree}/b.jsonl", f"{tree}/*.csv", f"{tree}/b.*"]) == ["a.csv", "b.jsonl"]


def test_hidden_files_are_found_by_name(tree):
    assert found(tree, str(tree / "_part.jsonl")) == ["_part.jsonl"]
    write(tree / "[1]*?.jsonl", "x")
    assert found(tree, str(tree / "[1]*?.jsonl")) == ["[1]*?.jsonl"]


def test_listing_has_size_and_change(tree):
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
    assert [item for task in tasks for item in task] == list(enumerate(files))
    for task in tasks:
        assert 1 <= len(task) <= FILES_PER_TASK
        assert len(task) == 1 or sum(sizes[number] for number, _ in task) <= BYTES_PER_SPILL
    if files:
        assert len(split_into_tasks(files, 5)) == 1, "the first rows are those of the first files"


def test_small_files_share_tasks():
    files = [SourceFile(f"{number}.jsonl", 100, "") for number in range(2000)]
    assert len(split_into_tasks(files, None)) == 63


def test_relative_paths_become_absolute(tree, monkeypatch):
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
def test_sources_without_files_are_reported(tree, monkeypatch, source, match):
    monkeypatch.chdir(tree)
    with pytest.raises(InputError, match=match) as problem:
        find_files(source)
    assert "\n" not in str(problem.value)


def test_folders_without_known_formats_are_reported(tmp_path):
    write(tmp_path / "readme.md", "x")
    for source in (str(tmp_path), f"{tmp_path}/*"):
        with pytest.raises(InputError, match=r"has no file of a known format; known are \.jsonl"):
            find_files(source)

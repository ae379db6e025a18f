"""Tables opened by other libraries, given only the folder: Arrow, pandas, datasets, DuckDB."""

from pathlib import Path

import pytest

from factory.storage import file_io
from factory.storage.rows import rejected_row
from factory.storage.schemas import PERSONAS
from factory.storage.tables import SUFFIX, Table
from tests.made_run import make_run
from tests.unit.test_tables import persona_row


def arrow(folder: str) -> list[dict]:
    import pyarrow.parquet as pq

    return pq.read_table(folder).to_pylist()


def pandas(folder: str) -> list[dict]:
    import pandas as pd

    return pd.read_parquet(folder).to_dict("records")


def datasets_folder(folder: str) -> list[dict]:
    import datasets

    return datasets.load_dataset(folder, split="train").to_list()


def datasets_parquet(folder: str) -> list[dict]:
    import datasets

    return datasets.load_dataset("parquet", data_dir=folder, split="train").to_list()


def duckdb(folder: str) -> list[dict]:
    import duckdb

    return duckdb.sql(f"SELECT * FROM '{folder}/*.parquet'").to_arrow_table().to_pylist()


READERS = [arrow, pandas, datasets_folder, datasets_parquet, duckdb]


@pytest.fixture(autouse=True)
def offline(monkeypatch, tmp_path):
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> str:
    output = str(tmp_path_factory.mktemp("others") / "run")
    make_run(output, 20)
    return output


@pytest.mark.parametrize("read", READERS)
def test_all_tables_of_a_run_are_read(run, read):
    names = sorted({path.rpartition("/")[0] for path in file_io.sizes(run) if path.endswith(SUFFIX)})
    assert {"personas", "profiles", "dialogues/generate-samples", "curated/train"} <= set(names)
    for name in names:
        table = Table(run, name)
        manifest = table.manifest()
        rows = read(table.path)
        assert len(rows) == manifest["rows_in"] == manifest["ok"] + sum(manifest["rejected"].values())
        assert [row["status"] for row in rows].count("ok") == manifest["ok"]


@pytest.mark.parametrize("read", READERS)
def test_other_files_of_a_table_are_ignored(tmp_path, read):
    table = Table(str(tmp_path / "run"), "personas")
    table.begin("one", {})
    table.write("0000-00000", [persona_row("a baker", 1)], PERSONAS)
    table.write("rejected-0000", [rejected()], PERSONAS)
    table.write("0001-00000", [persona_row("a miller", 2)], PERSONAS)
    Path(table.path, "0001-00000.parquet").write_bytes(b"PAR1")
    table.drop_damaged("0001-00000")
    Path(table.path, f".0002-00000.parquet.{'0' * 32}.tmp").write_bytes(b"PA")  # as after a kill
    table.finish({"ok": 1})
    assert sorted((row["row"], row["status"]) for row in read(table.path)) == [(1, "ok"), (2, "rejected")]


def rejected() -> dict:
    from factory.records import Reject

    return rejected_row(Reject("empty", ""), {"source": 0, "row": 2})

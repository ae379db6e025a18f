"""A task of the ingestion: user files to spilled rows."""

import json

from factory.config import RunConfig
from factory.runtime.exchange import to_spills
from factory.storage.schemas import PERSONAS
from factory.storage.shuffle import FileShuffle, SpillIndex
from factory.synthesis import ingest
from factory.synthesis.ingest import _spill
from factory.synthesis.steps import persona_kind


def spill(folder, file, limit=None):
    config = RunConfig.model_validate(
        {"output": "x", "engine": {"kind": "scripted"}, "personas": {"source": str(file)}}
    )
    shuffle = FileShuffle(str(folder / "spills"), 3, PERSONAS)
    spills = _spill(persona_kind(config), [(0, str(file))], limit, shuffle)
    index = SpillIndex.of(to_spills(spills))
    tables = [shuffle.collect(index, part) for part in range(3)]
    return spills, sorted((row for table in tables for row in table.to_pylist()), key=lambda row: row["row"])


def test_spills_are_bounded_by_rows_and_bytes(tmp_path, monkeypatch):
    file = tmp_path / "a.jsonl"
    file.write_text("".join(json.dumps({"persona": f"{n}" + "x" * 5000}) + "\n" for n in range(100)))
    (whole,), rows = spill(tmp_path, file)
    assert (whole["rows"], whole["sources"], whole["source_rows"]) == (100, [0], [100])
    monkeypatch.setattr(ingest, "BYTES_PER_SPILL", 50_000)
    by_bytes, same = spill(tmp_path, file)
    assert [spill["rows"] for spill in by_bytes] == [10] * 10
    assert [spill["source_rows"] for spill in by_bytes] == [[10 * n] for n in range(1, 11)]
    monkeypatch.setattr(ingest, "ROWS_PER_SPILL", 7)
    by_rows, same_again = spill(tmp_path, file)
    assert [spill["rows"] for spill in by_rows] == [7] * 14 + [2]
    assert rows == same == same_again
    few, first = spill(tmp_path, file, limit=9)
    assert [spill["rows"] for spill in few] == [7, 2]
    assert first == rows[:9]

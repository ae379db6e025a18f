import json
import os
import pickle
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factory.errors import DamagedError, StorageError, TableError
from factory.records import Completion, Counts, Message, Persona, Reject, content_id, int_key
from factory.storage.file_io import check_writable, write_bytes
from factory.storage.rows import DETAIL_CHARACTERS, ok_row, rejected_row
from factory.storage.schemas import DIALOGUES, PERSONAS
from factory.storage.tables import Table, compute_fingerprint
from factory.synthesis.exact_dedup import drop_duplicates
from factory.synthesis.personas import read_persona
from factory.text.normalize import shorten


def persona_row(text: str, row: int, source: int = 0) -> dict:
    return ok_row(Persona(content_id(text), text)) | {"source": source, "row": row}


def test_rows_round_trip(tmp_path):
    table = Table(str(tmp_path), "personas")
    good = ok_row(Persona("a", "b"), Completion(prompt_tokens=3, output_tokens=2), prompt="p@1#x", model="m")
    bad = rejected_row(
        Reject("invalid_reply", "lone \ud800 surrogate"), {"character_id": "c"}, prompt="p@1#x", model="m"
    )
    counts = table.write("0", [good, bad], PERSONAS)
    assert counts == Counts(ok=1, rejected={"invalid_reply": 1}, prompt_tokens=3, output_tokens=2)
    first, second = table.read("0").to_pylist()
    assert (first["persona"], first["status"], first["reason"], first["prompt"]) == ("b", "ok", None, "p@1#x")
    assert (second["character_id"], second["persona"], second["detail"]) == ("c", None, "lone \\ud800 surrogate")


def test_rows_keep_the_thoughts_before_each_reply(tmp_path):
    table = Table(str(tmp_path), "profiles")
    thought = Completion(("a", "b"), output_tokens=9, thoughts=("", "hm"), thought_tokens=4)
    none = Completion(("a",), output_tokens=2, thoughts=("",))
    rows = [ok_row(Persona("a", "b"), thought), ok_row(Persona("c", "d"), none)]
    rows.append(rejected_row(Reject("truncated"), {"character_id": "e"}, thought))
    counts = table.write("0", rows, PERSONAS)
    assert (counts.output_tokens, counts.thought_tokens) == (20, 8)
    assert table.count("0") == counts
    assert table.read("0")["thoughts"].to_pylist() == [["", "hm"], None, ["", "hm"]]


def test_details_are_shortened():
    row = rejected_row(Reject("invalid_reply", "y" * 50_000_000), {"character_id": "c"})
    assert len(row["detail"]) <= DETAIL_CHARACTERS
    assert row["detail"].startswith("yyy")
    assert row["detail"].endswith("... and 49,980,050 more characters")


@given(st.text(), st.integers(50, 100))
def test_shorten_counts_missing_characters(text, limit):
    for long in (text, text * 100):
        short = shorten(long, limit)
        assert len(short) <= limit
        head, _, rest = short.partition(" ... and ")
        assert short == long or len(long) == len(head) + int(rest.split()[0].replace(",", ""))


def test_messages_come_back_in_order(tmp_path):
    from factory.records import Dialogue

    table = Table(str(tmp_path), "dialogues/generate-x")
    made = Dialogue("d", "generate", "x", "i", "c", (Message("system", "s"), Message("user", "u")))
    table.write("0", [ok_row(made)], DIALOGUES)
    (row,) = table.read("0").to_pylist()
    assert row["messages"] == [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}]


def test_changed_settings_archive_table(tmp_path):
    table = Table(str(tmp_path), "profiles")
    table.begin("one", {})
    table.write("0", [], PERSONAS)
    table.begin("one", {})
    assert table.shards() == ["0"]
    table.begin("two", {})
    assert table.shards() == []
    assert (tmp_path / "archive" / "profiles-one" / "0.parquet").exists()


def test_rebuild_reports_reason_and_archive(tmp_path):
    table, lines = Table(str(tmp_path), "dialogues/generate-lima"), []
    made = {"ref": "org/name", "sampling": {"temperature": 0.6, "top_p": 1.0}, "files": list(range(100)), "seed": 1}
    table.begin("one", made, lines.append)
    table.write("0", [], PERSONAS)
    table.begin("one", made, lines.append)
    assert lines == []
    changed = made | {"sampling": {"temperature": 0.7, "top_p": 1.0}, "structured": "none", "files": [1]}
    table.begin("two", changed, lines.append)
    (line,) = lines
    assert line.startswith(
        "dialogues/generate-lima: is rebuilt, because sampling.temperature was 0.6 and is 0.7, files was [0"
    )
    assert 'structured was null and is "none"' in line
    assert "seed" not in line
    assert line.endswith(f"; the old one is in {tmp_path}/archive/dialogues-generate-lima-one")
    assert len(line) < 350 + len(str(tmp_path))


CHANGEABLE = {"rate"}


def begun(tmp_path, **inputs: object) -> tuple[Table, list[str]]:
    """Begin a table with a rate and a seed, of which the rate may change, and write a shard; then others."""
    table, lines = Table(str(tmp_path), "checkpoints"), []
    table.begin("one", {"rate": 1, "seed": 7}, lines.append, CHANGEABLE)
    table.write("0", [], PERSONAS)
    table.begin("two", inputs, lines.append, CHANGEABLE)
    return table, lines


def test_unfinished_table_goes_on_with_a_changed_rate(tmp_path):
    table, lines = begun(tmp_path, rate=2, seed=7)
    assert lines == ["checkpoints: goes on with other settings: rate was 1 and is 2"]
    assert (table.shards(), table.inputs()) == (["0"], {"rate": 2, "seed": 7})
    table.begin("two", {"rate": 2, "seed": 7}, lines.append)
    assert len(lines) == 1


@pytest.mark.parametrize("inputs", [{"rate": 2, "seed": 8}, {"rate": 2}, {"rate": 2, "seed": 7, "more": 1}])
def test_other_changes_start_over(tmp_path, inputs):
    table, (line,) = begun(tmp_path, **inputs)
    assert "is rebuilt" in line
    assert table.shards() == []


def test_finished_table_starts_over_with_a_changed_rate(tmp_path):
    table, _ = begun(tmp_path, rate=2, seed=7)
    table.finish({"fingerprint": "two", "ok": 0})
    table.begin("one", {"rate": 1, "seed": 7}, changeable=CHANGEABLE)
    assert table.shards() == []
    table.write("1", [], PERSONAS)
    table.begin("two", {"rate": 2, "seed": 7}, changeable=CHANGEABLE)  # in the archive is one of this rate, finished
    assert (table.shards(), table.manifest()["fingerprint"]) == (["0"], "two")


def test_rebuild_lists_at_most_five_changes(tmp_path):
    table, lines = Table(str(tmp_path), "profiles"), []
    table.begin("one", {}, lines.append)
    table.write("0", [], PERSONAS)
    table.begin("two", {f"setting-{n}": n for n in range(12)}, lines.append)
    assert "setting-4 was null and is 4, 7 more differ;" in lines[0]


def test_manifest_marks_table_finished(tmp_path):
    table = Table(str(tmp_path), "profiles")
    table.begin("one", {"a": 1})
    assert table.manifest() is None
    table.finish({"ok": 3})
    assert table.manifest() == {"ok": 3}
    assert json.loads((tmp_path / "profiles" / ".inputs.json").read_text())["settings"] == {"a": 1}


def finished(table: Table, name: str, report: object = None) -> None:
    table.begin(name, {"name": name}, report or (lambda line: None))
    if not table.manifest():
        table.write("0", [persona_row(name, 0)], PERSONAS)
        table.finish({"fingerprint": name, "ok": 1})


def test_finished_table_is_restored(tmp_path):
    table, lines = Table(str(tmp_path), "profiles"), []
    finished(table, "a")
    finished(table, "b")
    table.begin("a", {"name": "a"}, lines.append)
    assert table.manifest() == {"fingerprint": "a", "ok": 1}
    assert lines[1] == (
        f"profiles: was built with these settings before, and is restored from {tmp_path}/archive/profiles-a"
    )
    table.begin("b", {"name": "b"})
    assert table.read("0")["persona"].to_pylist() == ["b"]
    assert [path.name for path in (tmp_path / "archive").iterdir()] == ["profiles-a"]


def test_archive_is_not_overwritten(tmp_path):
    table = Table(str(tmp_path), "profiles")
    finished(table, "a")
    finished(table, "b")
    finished(Table(str(tmp_path), "elsewhere"), "b")
    (tmp_path / "elsewhere").rename(tmp_path / "archive/profiles-b")  # as an earlier version may leave it
    table.begin("c", {})
    assert sorted(path.name for path in (tmp_path / "archive").iterdir()) == [
        "profiles-a", "profiles-b", "profiles-b-2",
    ]  # fmt: skip
    (tmp_path / "archive/profiles-b/.manifest.json").unlink()
    table.begin("b", {"name": "b"})
    assert table.manifest() == {"fingerprint": "b", "ok": 1}
    assert (tmp_path / "archive/profiles-b/0.parquet").exists()


def test_unfinished_table_is_restored(tmp_path):
    table = Table(str(tmp_path), "profiles")
    table.begin("a", {})
    table.write("7", [], PERSONAS)
    table.begin("b", {})  # it wrote nothing, so it is not archived
    table.begin("a", {})
    assert table.shards() == ["7"]
    assert list((tmp_path / "archive").iterdir()) == []


@given(st.integers(0, 200), st.sampled_from([b"", b"[]", b"null", b"{}", b'{"a": 1}', b"\x00\xff"]))
@settings(max_examples=40, deadline=None)
def test_unreadable_document_counts_as_missing(tmp_path_factory, cut, other):
    folder = tmp_path_factory.mktemp("cut")
    table = Table(str(folder), "profiles")
    for name in (".manifest.json", ".inputs.json"):
        finished(table, "a")
        path = folder / "profiles" / name
        whole = path.read_bytes()
        for content in (whole[: min(cut, len(whole) - 2)], other):
            path.write_bytes(content)
            assert table.inputs() is None if "inputs" in name else table.manifest() in (None, {"a": 1})
        path.write_bytes(b"")
    table.begin("a", {"name": "a"})
    assert table.shards() == [], "shards of unknown inputs are not used"
    assert (folder / "archive/profiles-unknown/0.parquet").exists()


@given(st.integers(0, 2000))
@settings(max_examples=40, deadline=None)
def test_truncated_shard_is_reported_and_moved(tmp_path_factory, cut):
    folder = tmp_path_factory.mktemp("cut")
    table = Table(str(folder), "profiles")
    finished(table, "a")
    path = folder / "profiles/0.parquet"
    path.write_bytes(path.read_bytes()[: min(cut, path.stat().st_size - 1)])
    with pytest.raises(DamagedError) as caught:
        table.read("0")
    assert "\n" not in str(caught.value)
    assert (caught.value.path, pickle.loads(pickle.dumps(caught.value)).path) == (str(path), str(path))
    table.drop_damaged("0")
    assert (table.shards(), table.manifest()) == ([], None)
    assert (folder / "profiles/.damaged/0.parquet").exists()


def test_changed_byte_is_damage(tmp_path):
    table = Table(str(tmp_path), "profiles")
    finished(table, "a")
    path = tmp_path / "profiles/0.parquet"
    whole, metadata = path.read_bytes(), pq.read_metadata(path).row_group(0)
    for number in range(metadata.num_columns):
        column = metadata.column(number)
        end = (column.dictionary_page_offset or column.data_page_offset) + column.total_compressed_size
        path.write_bytes(whole[: end - 1] + bytes([whole[end - 1] ^ 1]) + whole[end:])
        with pytest.raises(DamagedError):
            table.read("0")


def test_unreadable_shards_count_no_rows(tmp_path):
    table = Table(str(tmp_path), "profiles")
    table.begin("a", {})
    for shard in "01":
        table.write(shard, [persona_row(shard, 0)], PERSONAS)
    path = tmp_path / "profiles/0.parquet"
    whole = path.read_bytes()
    assert table.rows_written() == 2
    for offset in range(0, len(whole), 11):
        path.write_bytes(whole[:offset] + bytes([whole[offset] ^ 0xFF]) + whole[offset + 1 :])
        assert table.rows_written() in (1, 2)


def test_repaired_table_keeps_finish_time(tmp_path):
    table = Table(str(tmp_path), "curated/train")
    table.begin("a", {})
    table.write("0", [], PERSONAS)
    made = {"fingerprint": "a", "finished": "2026-01-01"}
    table.finish(made, repeatable=True)
    table.drop_damaged("0")
    table.finish({"fingerprint": "a", "finished": "2026-02-02"}, repeatable=True)
    assert table.manifest() == made
    table.finish({"fingerprint": "a", "finished": "2026-02-02"})
    assert table.manifest()["finished"] == "2026-02-02"


def test_files_and_folders_are_synced(tmp_path, monkeypatch):
    synced = set()
    sync = os.fsync
    monkeypatch.setattr("os.fsync", lambda handle: (synced.add(os.readlink(f"/proc/self/fd/{handle}")), sync(handle)))
    finished(Table(str(tmp_path), "a/b"), "x")
    folders = {path.rpartition("/.")[0] if path.endswith(".tmp") else path for path in synced}
    assert {str(tmp_path), str(tmp_path / "a"), str(tmp_path / "a/b")} <= folders
    files = {path.rpartition("/.")[2][:9] for path in synced if path.endswith(".tmp")}
    assert files == {"0.parquet", "inputs.js", "manifest."}


def test_wrong_row_counts_are_an_error(tmp_path):
    with pytest.raises(TableError, match="4 rows went in, 2 accepted and 1 rejected came out"):
        Table(str(tmp_path), "x").check_complete(Counts(ok=2, rejected={"a": 1}), 4)


@given(st.lists(st.builds(Counts, st.integers(0, 9), st.dictionaries(st.sampled_from("abc"), st.integers(1, 9)))))
def test_counts_add_up(parts):
    assert sum(parts, Counts()).rows == sum(part.rows for part in parts)


def test_fingerprint_ignores_order():
    assert compute_fingerprint({"a": 1, "b": [2]}) == compute_fingerprint({"b": [2], "a": 1})
    assert compute_fingerprint({"a": 1}) != compute_fingerprint({"a": 2})


@settings(max_examples=30, deadline=None)
@given(texts=st.lists(st.text(alphabet="abcd", min_size=1, max_size=2), max_size=40))
def test_first_duplicate_is_kept(texts):
    rows = pa.Table.from_pylist([persona_row(t, n) for n, t in enumerate(texts)], schema=PERSONAS)
    shuffled = rows.take(np.random.default_rng(1).permutation(len(texts)))
    kept, refused = drop_duplicates(shuffled, "character_id")
    assert sorted(kept["row"].to_pylist()) == sorted({texts.index(t) for t in texts})
    assert sorted(kept["row"].to_pylist() + refused["row"].to_pylist()) == list(range(len(texts)))
    assert set(refused["reason"].to_pylist()) <= {"duplicate"}
    assert kept["character_id"].to_pylist() == sorted(kept["character_id"].to_pylist())
    for row in refused.to_pylist():
        assert row["detail"] == f"same as row {texts.index(texts[row['row']])} of file 0"


def test_id_collision_is_rejected():
    rows = [persona_row("a", 0), persona_row("a", 1) | {"persona": "b"}]
    kept, refused = drop_duplicates(pa.Table.from_pylist(rows, schema=PERSONAS), "character_id")
    assert kept["persona"].to_pylist() == ["a"]
    assert refused["reason"].to_pylist() == ["id_collision"]


def test_invisible_differences_are_duplicates():
    texts = ["a baker", "a \u200bbaker", "a\u00ad baker\ufeff"]
    rows = [ok_row(read_persona(text, "persona")) | {"source": 0, "row": row} for row, text in enumerate(texts)]
    kept, refused = drop_duplicates(pa.Table.from_pylist(rows, schema=PERSONAS), "character_id")
    assert kept["persona"].to_pylist() == ["a baker"]
    assert refused["reason"].to_pylist() == ["duplicate"] * 2


@given(st.text())
def test_int_key_matches_id(text):
    identity = content_id(text)
    assert len(identity) == 16
    assert int_key(identity) % 2**64 == int(identity, 16)


def test_write_is_atomic(tmp_path, monkeypatch):
    path = tmp_path / "a" / "b.json"
    write_bytes(str(path), b"old")
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(StorageError, match="disk is full"):
        write_bytes(str(path), b"new")
    assert path.read_bytes() == b"old"
    assert [p.name for p in path.parent.iterdir()] == ["b.json"]


def test_output_below_file_is_refused(tmp_path):
    Path(tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="choose another path"):
        check_writable(str(tmp_path / "file" / "run"))

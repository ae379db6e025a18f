"""Whatever the name of an output, no file next to it is read, moved or deleted, on local disk or in a bucket."""

import itertools
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from factory.errors import StorageError
from factory.storage import file_io, folder_moves
from factory.storage.run_lock import LOCK, hold_run_lock
from factory.storage.schemas import PERSONAS
from factory.storage.tables import MANIFEST, Table
from factory.training.model_export import publish
from tests.unit.test_tables import persona_row

PRINTABLE = "".join(c for c in map(chr, range(sys.maxunicode + 1)) if c.isprintable() and c != "/")
SIGNS = "?*[]{}()#%&+ !^-~$@=:;,'\"\\|<>`.é日"
NAMES = st.text(st.sampled_from(SIGNS) | st.sampled_from("run12") | st.sampled_from(PRINTABLE), min_size=1, max_size=8)
SERIAL = itertools.count()


def similar_names(name: str) -> set[str]:
    """Names that a pattern, a prefix or a client might confuse with `name`."""
    plain = {name.replace(sign, "x") for sign in "?*[]{}!#%&+ "}
    return {
        *plain, f"{name}2", f"{name}x", name[:-1], name.split("#")[0], name.split("?")[0], name.split("[")[0] + "a",
        name.split("[")[0] + "b", "run1", "run12", "r", name.rstrip(), name.upper() + "2",
    } - {name, "", ".", ".."}  # fmt: skip


def fill(folder: str) -> None:
    for file in ("profiles/0.parquet", "archive/profiles-one/0.parquet"):
        file_io.write_bytes(f"{folder}/{file}", folder.encode())


def contents(base: str, excluded: str) -> dict[str, object]:
    """Return a value per file, without one subfolder, that changes when the file is rewritten."""
    fs, name = file_io.filesystem(base)
    found = {path.removeprefix(f"{name}/"): info for path, info in fs.find(name, detail=True).items()}
    return {
        path: info.get("ETag") or info["ino"] for path, info in found.items() if not path.startswith(f"{excluded}/")
    }


def work(output: str, staged: Callable[[], Path]) -> None:
    """Do everything that a run does with the folders of its output."""
    file_io.check_writable(output)
    with hold_run_lock(output):
        table = Table(output, "profiles")
        table.begin("one", {"a": 1})
        table.write("0", [persona_row("a", 1)], PERSONAS)
        table.finish({"fingerprint": "one", "ok": 1})
        table.begin("two", {"a": 2})
        table.write("0", [persona_row("b", 1)], PERSONAS)
        table.begin("one", {"a": 1})
        assert table.shards() == ["0"]
        assert table.read("0")["persona"].to_pylist() == ["a"]
        for _ in range(2):
            publish(staged(), f"{output}/model")
        assert sorted(file_io.sizes(f"{output}/model")) == ["config.json", "manifest.json"]
        file_io.delete_folder(f"{output}/profiles")
        assert file_io.list_names(f"{output}/profiles", "") == []
        file_io.delete_folder(f"{output}/archive")
    remaining = {"model/config.json", "model/manifest.json"}
    assert set(file_io.sizes(output)) - {LOCK} == remaining


@pytest.fixture(scope="module")
def outputs(s3, tmp_path_factory) -> SimpleNamespace:
    folder = tmp_path_factory.mktemp("names")

    def staged() -> Path:
        source = folder / f"staged-{next(SERIAL)}"
        source.mkdir()
        for name in ("config.json", "manifest.json"):
            (source / name).write_text("{}")
        return source

    return SimpleNamespace(s3=f"{s3}/names", local=str(folder), staged=staged)


@pytest.mark.parametrize("where", ["local", "s3"])
@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(name=NAMES)
@example(name="run?")
@example(name="run*")
@example(name="r[a-z]n")
@example(name="[!x]")
@example(name="run{1,2}")
@example(name="run#12")
@example(name="a::b")
@example(name="100%25 + 7&c=d")
def test_no_name_affects_other_files(outputs, where, name):
    if name in (".", "..") or len(name.encode()) > 200:
        return
    base = f"{getattr(outputs, where)}/{next(SERIAL)}"
    if where == "local":
        Path(base).mkdir()
    for other in similar_names(name):
        fill(f"{base}/{other}")
    before = contents(base, name)
    work(f"{base}/{name}", outputs.staged)
    assert contents(base, name) == before
    file_io.delete_folder(f"{base}/{name}")
    assert contents(base, name) == before


def test_delete_folder_keeps_file_of_same_name(s3):
    base = f"{s3}/own-name"
    file_io.write_bytes(f"{base}/profiles", b"a file")
    file_io.write_bytes(f"{base}/profiles2/0", b"others")
    file_io.delete_folder(f"{base}/profiles")
    assert file_io.sizes(base) == {"profiles": 6, "profiles2/0": 6}
    assert file_io.sizes(f"{base}/profiles") == {}


def test_folder_keys_of_consoles_are_ignored(s3):
    base = f"{s3}/marks"
    fs, _ = file_io.filesystem(base)
    for key in ("run/", "run/profiles/"):
        fs.call_s3("put_object", Bucket="factory-test", Key=f"marks/{key}", Body=b"")
    table = Table(f"{base}/run", "profiles")
    table.begin("one", {})
    table.write("0", [], PERSONAS)
    assert set(file_io.sizes(f"{base}/run")) == {"profiles/.inputs.json", "profiles/0.parquet"}
    assert file_io.list_names(f"{base}/run", "") == ["profiles"]
    table.begin("two", {})
    assert set(file_io.sizes(f"{base}/run/archive/profiles-one")) == {".inputs.json", "0.parquet"}


@pytest.mark.parametrize("name", ["a?versionId=7", "../other", "a/./b"])
def test_keys_that_clients_change_are_refused(s3, name):
    with pytest.raises(StorageError, match="rename it"):
        file_io.check_writable(f"{s3}/{name}")


def test_move_copies_manifest_last_and_deletes_it_first(s3, monkeypatch):
    output = f"{s3}/moved"
    table = Table(output, "profiles")
    table.begin("one", {})
    for shard in "012":
        table.write(shard, [], PERSONAS)
    table.finish({"ok": 0})
    fs, _ = file_io.filesystem(output)
    done: list[tuple[str, str]] = []
    for name in ("cp_file", "rm_file"):
        act = getattr(fs, name)
        monkeypatch.setattr(
            fs,
            name,
            lambda path, *to, act=act, name=name: (act(path, *to), done.append((name, path.rsplit("/", 1)[1]))),
        )
    before = file_io.sizes(table.path)
    folder_moves.move_folder(output, "profiles", "archive/profiles-one", MANIFEST)
    copied, deleted = ([file for act, file in done if act == name] for name in ("cp_file", "rm_file"))
    assert copied[-1] == MANIFEST
    assert deleted[:2] == [folder_moves.COPYING, MANIFEST]
    assert deleted[-1] == folder_moves.MOVED
    assert file_io.sizes(f"{output}/archive/profiles-one") == before
    assert file_io.sizes(table.path) == {}

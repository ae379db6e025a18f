"""Which checkpoint is used: on local disk and in an object store (fsspec's in memory)."""

import os
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from factory.storage import file_io
from factory.training import checkpoints
from factory.training.checkpoints import DAMAGED, MANIFEST, TAG, Checkpoint


@pytest.fixture(params=["local", "memory"])
def folder(request, tmp_path) -> str:
    """A folder of three checkpoints, of steps 3, 6 and 9, beside a table of validations."""
    folder = str(tmp_path / "checkpoints") if request.param == "local" else f"memory://{uuid.uuid4().hex}/checkpoints"
    for step in (3, 6, 9):
        save(folder, step, tmp_path / "staged")
    file_io.write_bytes(f"{folder}/validation/step-00000009.parquet", b"rows")
    file_io.write_bytes(f"{folder}/step-00000012/{TAG}/model", b"a kill left this without a manifest")
    return folder


def save(folder: str, step: int, staged: Path, loss: float | None = 1.5) -> None:
    staged.mkdir(exist_ok=True)
    for name in ("model", "optimizer"):
        (staged / name).write_bytes(f"{name} of step {step:02}".encode())
    path = checkpoints.checkpoint_path(folder, step)
    checkpoints.write_manifest(Checkpoint(path, step, 2, loss, checkpoints.upload(staged, path)))


def steps(found: list[Checkpoint]) -> list[int]:
    return [one.step for one in found]


def test_newest_complete_checkpoint_is_found_read_only(folder):
    assert steps(checkpoints.complete_checkpoints(folder)) == [9, 6, 3]
    file_io.delete_file(f"{folder}/step-00000009/{TAG}/model")
    file_io.write_bytes(f"{folder}/step-00000006/{TAG}/model", b"of another size")
    before = file_io.sizes(folder)
    assert checkpoints.newest(folder).step == 3
    assert steps(checkpoints.complete_checkpoints(folder)) == [3]
    assert steps(checkpoints.finished_checkpoints(folder)) == [9, 6, 3]
    assert file_io.sizes(folder) == before


def test_no_checkpoint_no_newest(folder):
    assert checkpoints.newest(f"{folder}/elsewhere") is None


def test_missing_short_or_changed_files_are_found(folder):
    newest = checkpoints.newest(folder)
    assert checkpoints.changed_files(newest) == []
    file_io.write_bytes(f"{newest.path}/{TAG}/model", b"model of step 08")
    assert checkpoints.changed_files(newest) == ["model"]
    file_io.delete_file(f"{newest.path}/{TAG}/optimizer")
    assert checkpoints.changed_files(newest) == ["model", "optimizer"]


def test_concurrent_marking_is_idempotent(folder):
    newest = checkpoints.newest(folder)
    manifest = file_io.read_bytes(f"{newest.path}/{MANIFEST}")
    with ThreadPoolExecutor(8) as workers:
        list(workers.map(checkpoints.mark_damaged, [newest.path] * 32))
    checkpoints.mark_damaged(newest.path)
    assert checkpoints.damaged(folder) == ["step-00000009"]
    assert checkpoints.newest(folder).step == 6
    assert file_io.read_bytes(f"{newest.path}/{DAMAGED}") == manifest
    assert not file_io.exists(f"{newest.path}/{MANIFEST}")


@pytest.mark.parametrize(
    "left", [b"", b'{"step": 9, "workers"', b"\xff\xfe", b"[]", b'{"step": 9}', b'{"files": {}, "of": 1}']
)
def test_unreadable_manifest_is_a_damaged_checkpoint(folder, left):
    path = f"{folder}/step-00000009"
    file_io.write_bytes(f"{path}/{MANIFEST}", left)
    assert checkpoints.newest(folder).step == 6
    assert steps(checkpoints.finished_checkpoints(folder)) == [6, 3]
    assert checkpoints.unreadable(folder) == [path]
    checkpoints.mark_damaged(path)
    assert checkpoints.damaged(folder) == ["step-00000009"]
    assert file_io.read_bytes(f"{path}/{DAMAGED}") == left
    assert checkpoints.unreadable(folder) == []


def test_incomplete_checkpoint_replaces_no_complete_one(folder):
    file_io.delete_file(f"{folder}/step-00000009/{TAG}/model")
    checkpoints.drop_old(folder, keep=1)
    assert steps(checkpoints.complete_checkpoints(folder)) == [6, 3]  # of equal losses the first is the best


def test_unvalidated_checkpoint_is_never_the_best(folder, tmp_path):
    save(folder, 12, tmp_path / "staged", loss=None)
    save(folder, 15, tmp_path / "staged", loss=None)
    checkpoints.drop_old(folder, keep=1)
    assert steps(checkpoints.complete_checkpoints(folder)) == [15, 3]


def test_checkpoint_is_chosen_by_its_name(folder, tmp_path):
    save(folder, 12, tmp_path / "staged", loss=1.2)
    save(folder, 15, tmp_path / "staged", loss=None)
    complete = checkpoints.complete_checkpoints(folder)
    found = {name: checkpoints.choose(complete, name) for name in ("last", "best", "step-6", "step-7", "step-06")}
    assert {name: one and one.step for name, one in found.items()} == {
        "last": 15, "best": 12, "step-6": 6, "step-7": None, "step-06": None,
    }  # fmt: skip
    assert checkpoints.choose([], "last") is checkpoints.choose([], "best") is None
    message = checkpoints.no_such_checkpoint(complete, "step-7")
    assert message.startswith("training.export_checkpoint: there is no checkpoint 'step-7'")
    assert "(step-3, step-6, step-9, step-12, step-15)" in message
    assert "(none)" in checkpoints.no_such_checkpoint([], "best")


def test_checkpoint_to_export_is_kept(folder, tmp_path):
    save(folder, 12, tmp_path / "staged", loss=1.2)
    checkpoints.drop_old(folder, keep=1, exported="step-6")
    assert steps(checkpoints.complete_checkpoints(folder)) == [12, 6]


def test_each_remote_folder_has_its_own_staging(tmp_path, monkeypatch):
    monkeypatch.setenv("FACTORY_CACHE", str(tmp_path))
    one, other = (checkpoints.staging(f"s3://bucket/{name}/checkpoints") for name in ("one", "other"))
    assert one != other
    assert one == checkpoints.staging("s3://bucket/one/checkpoints")
    assert one.parent == other.parent == tmp_path
    assert str(os.getuid()) in one.name
    assert checkpoints.staging("/runs/one/checkpoints") == Path("/runs/one/checkpoints")


def test_size_of_the_next_checkpoint():
    assert checkpoints.bytes_to_save(None, trained=10) == 140
    remote, local = (Checkpoint(path, 3, 2, None, {"a": (60, ""), "b": (40, "")}) for path in ("s3://b/c", "/c"))
    assert checkpoints.bytes_to_save(remote, trained=10) == 100
    assert checkpoints.bytes_to_load(remote, convert=False) == 100
    assert checkpoints.bytes_to_load(remote, convert=True) == 300
    assert checkpoints.bytes_to_load(local, convert=False) == 0  # its files are linked
    assert checkpoints.bytes_to_load(local, convert=True) == 200

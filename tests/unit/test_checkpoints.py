"""Which checkpoint is used: on local disk and in an object store (fsspec's in memory)."""

import os
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from factory.storage import file_io
from factory.training.checkpointing import checkpoints
from factory.training.checkpointing.checkpoint_loading import bytes_to_load, files_to_load
from factory.training.checkpointing.checkpoints import DAMAGED, MANIFEST, TAG, Checkpoint

MODEL, OPTIMIZER = "weights-00000.pt", "zero_pp_rank_0_mp_rank_00_optim_states.pt"


@pytest.fixture(params=["local", "memory"])
def folder(request, tmp_path) -> str:
    """A folder of three checkpoints, of steps 3, 6 and 9, beside a table of validations."""
    folder = str(tmp_path / "checkpoints") if request.param == "local" else f"memory://{uuid.uuid4().hex}/checkpoints"
    for step in (3, 6, 9):
        save(folder, step)
    file_io.write_bytes(f"{folder}/validation/step-00000009.parquet", b"rows")
    file_io.write_bytes(f"{folder}/step-00000012/{TAG}/{MODEL}", b"a kill left this without a manifest")
    return folder


def save(folder: str, step: int, loss: float | None = 1.5) -> None:
    path, files = checkpoints.checkpoint_path(folder, step), {}
    for name in (MODEL, OPTIMIZER):
        content = f"{name} of step {step:02}".encode()
        digest = checkpoints.new_digest()
        digest.update(content)
        file_io.write_bytes(f"{path}/{TAG}/{name}", content)
        files[name] = (len(content), digest.hexdigest())
    checkpoints.write_manifest(Checkpoint(path, step, 2, loss, files))


def steps(found: list[Checkpoint]) -> list[int]:
    return [one.step for one in found]


def test_newest_complete_checkpoint_is_found_read_only(folder):
    assert steps(checkpoints.complete_checkpoints(folder)) == [9, 6, 3]
    file_io.delete_file(f"{folder}/step-00000009/{TAG}/{MODEL}")
    file_io.write_bytes(f"{folder}/step-00000006/{TAG}/{MODEL}", b"of another size")
    before = file_io.sizes(folder)
    assert checkpoints.newest(folder).step == 3
    assert steps(checkpoints.complete_checkpoints(folder)) == [3]
    assert steps(checkpoints.finished_checkpoints(folder)) == [9, 6, 3]
    assert file_io.sizes(folder) == before


def test_no_checkpoint_no_newest(folder):
    assert checkpoints.newest(f"{folder}/elsewhere") is None


def test_missing_short_or_changed_files_are_found(folder):
    newest = checkpoints.newest(folder)
    assert checkpoints.changed_files(newest, newest.files) == []
    file_io.write_bytes(f"{newest.path}/{TAG}/{MODEL}", f"{MODEL} of step 08".encode())
    assert checkpoints.changed_files(newest, newest.files) == [MODEL]
    file_io.delete_file(f"{newest.path}/{TAG}/{OPTIMIZER}")
    assert checkpoints.changed_files(newest, newest.files) == [MODEL, OPTIMIZER]
    assert checkpoints.changed_files(newest, [OPTIMIZER]) == [OPTIMIZER]


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
    file_io.delete_file(f"{folder}/step-00000009/{TAG}/{MODEL}")
    checkpoints.drop_old(folder, keep=1)
    assert steps(checkpoints.complete_checkpoints(folder)) == [6, 3]  # of equal losses the first is the best


def test_unvalidated_checkpoint_is_never_the_best(folder, tmp_path):
    save(folder, 12, loss=None)
    save(folder, 15, loss=None)
    checkpoints.drop_old(folder, keep=1)
    assert steps(checkpoints.complete_checkpoints(folder)) == [15, 3]


def test_checkpoint_is_chosen_by_its_name(folder, tmp_path):
    save(folder, 12, loss=1.2)
    save(folder, 15, loss=None)
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
    save(folder, 12, loss=1.2)
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
    assert checkpoints.bytes_to_save(None, 10, weight_bytes=2) == 140
    assert checkpoints.bytes_to_save(None, 10, weight_bytes=4) == 160
    remote, local = (
        Checkpoint(path, 3, 2, None, {"weights-00000.pt": (7, ""), "mp_rank_00_model_states.pt": (40, "")} | PARTS)
        for path in ("s3://b/c", "/c")
    )
    assert checkpoints.bytes_to_save(remote, 10, weight_bytes=2) == 107
    assert bytes_to_load(remote, local_workers=1, convert=False) == 70
    assert bytes_to_load(remote, local_workers=2, convert=False) == 100
    assert bytes_to_load(remote, local_workers=1, convert=True) == 300
    assert bytes_to_load(local, local_workers=2, convert=False) == 0  # its files are linked
    assert bytes_to_load(local, local_workers=1, convert=True) == 200


def test_weights_alone_are_no_measure_of_the_next_checkpoint():
    weights = Checkpoint("/c", 3, 2, None, {"weights-00000.pt": (7, "")})
    assert checkpoints.bytes_to_save(weights, 10, weight_bytes=2) == 140


PARTS = {f"zero_pp_rank_{rank}_mp_rank_00_optim_states.pt": (30, "") for rank in range(2)}


@pytest.mark.parametrize("convert", [False, True])
def test_machines_download_what_their_workers_load(convert):
    names = [f"zero_pp_rank_{rank}_mp_rank_00_optim_states.pt" for rank in range(4)]
    files = dict.fromkeys([*names, "mp_rank_00_model_states.pt", "weights-00003.pt"], (1, ""))
    checkpoint = Checkpoint("/c", 3, 4, None, files)
    machines = [(0, 1), (2, 3)]
    for ranks in machines:
        found = [files_to_load(checkpoint, rank, place, 2, convert) for place, rank in enumerate(ranks)]
        loaded = sorted(name for each in found for name in each)
        needed = range(4) if convert else ranks
        assert loaded == sorted(["mp_rank_00_model_states.pt", *(names[rank] for rank in needed)])
        assert all(found)  # none of them only waits


def test_two_newest_stay_whole_and_others_keep_their_weights(folder):
    save(folder, 12, loss=1.2)
    save(folder, 15, loss=None)
    save(folder, 18, loss=None)
    for _ in range(2):
        checkpoints.drop_old(folder, keep=3, exported="step-6")
        complete = checkpoints.complete_checkpoints(folder)
        found = {each.step: (each.is_resumable, sorted(file_io.sizes(f"{each.path}/{TAG}"))) for each in complete}
        whole, weights = (True, [MODEL, OPTIMIZER]), (False, [MODEL])
        assert found == {18: whole, 15: whole, 12: weights, 6: weights}
        # A kill between the manifest and the deletion leaves files that the next call deletes.
        file_io.write_bytes(f"{folder}/step-00000006/{TAG}/{OPTIMIZER}", b"left")
    for step in (18, 15):
        checkpoints.mark_damaged(f"{folder}/step-{step:08}")
    assert checkpoints.newest(folder) is None
    assert steps(checkpoints.complete_checkpoints(folder)) == [12, 6]


def test_what_a_kill_left_is_deleted_and_damaged_ones_stay(folder):
    checkpoints.mark_damaged(f"{folder}/step-00000006")
    checkpoints.delete_unfinished(folder)
    names = {path.partition("/")[0] for path in file_io.sizes(folder)}
    assert names == {"step-00000003", "step-00000006", "step-00000009", "validation"}

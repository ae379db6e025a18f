"""Files of checkpoints: copies of a state, hashes of what is written, and weights out of the workers' parts."""

import copy
import uuid
from collections import OrderedDict
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from factory.errors import StorageError, TrainingError
from factory.storage import file_io
from factory.training.checkpointing import checkpoints
from factory.training.checkpointing.checkpoint_weights import checkpoint_weights, own_weights, weights_name
from factory.training.checkpointing.checkpoint_writer import captured, copy_to_cpu, write_file
from factory.training.checkpointing.checkpoints import TAG, Checkpoint


class Moments:
    """An object of an optimizer, with a tensor inside."""

    def __init__(self) -> None:
        self.first = torch.ones(2)


def test_copies_do_not_change_with_the_state():
    matrix, moments = torch.arange(6.0).view(2, 3), Moments()
    state = {"a": matrix, "tied": matrix, "column": matrix[:, 1], "more": [(matrix.t(), 7)], "moments": moments,
             "ordered": OrderedDict(x=torch.nn.Parameter(torch.ones(1)))}  # fmt: skip
    copied, before = copy_to_cpu(state), copy.deepcopy(matrix)
    matrix.zero_()
    moments.first.zero_()
    assert copied["a"] is copied["tied"]
    assert torch.equal(copied["a"], before)
    assert torch.equal(copied["column"], before[:, 1])
    assert torch.equal(copied["more"][0][0], before.t())
    assert copied["more"][0][1] == 7
    assert copied["moments"].first.sum() == 2
    assert isinstance(copied["ordered"], OrderedDict)
    assert not copied["ordered"]["x"].requires_grad


@pytest.mark.parametrize("place", ["local", "memory"])
def test_hash_of_what_is_written_is_that_of_the_file(tmp_path, place):
    folder = str(tmp_path / "checkpoints") if place == "local" else f"memory://{uuid.uuid4().hex}"
    path, files = checkpoints.checkpoint_path(folder, 3), {}
    for name, state in (("a.pt", {"x": torch.randn(1000, 300)}), ("b.pt", {"y": torch.randn(7), "z": "text"})):
        files[name] = write_file(state, tmp_path / name, file_io.join(path, TAG, name))
        assert not (tmp_path / name).exists()
    checkpoint = Checkpoint(path, 3, 1, None, files)
    checkpoints.write_manifest(checkpoint)
    assert checkpoints.newest(folder) == checkpoint
    assert checkpoints.changed_files(checkpoint, files) == []
    file_io.get_file(file_io.join(path, TAG, "b.pt"), str(tmp_path / "again"))
    assert torch.load(tmp_path / "again")["z"] == "text"


def test_file_that_cannot_be_written_is_a_storage_error(tmp_path):
    with pytest.raises(StorageError, match=f"^{tmp_path}/nowhere/a.pt: "):
        write_file({}, tmp_path / "nowhere/a.pt", str(tmp_path / "a.pt"))


def test_engine_writes_by_itself_again_after_a_capture():
    kept, written = {}, {}

    class Writer:
        def save(self, state_dict, path):
            written[path] = state_dict

    engine = SimpleNamespace(checkpoint_engine=Writer())
    with captured(engine, kept.__setitem__):
        engine.checkpoint_engine.save(state_dict={"x": 1}, path="folder/state/a.pt")
    engine.checkpoint_engine.save({"y": 2}, "b.pt")
    assert (kept, written) == ({"a.pt": {"x": 1}}, {"b.pt": {"y": 2}})


class Partitioned(torch.nn.Module):
    """A module as ZeRO-3 leaves it on one of two workers: parameters are empty, and have their part beside them."""

    def __init__(self, whole: dict[str, torch.Tensor], rank: int) -> None:
        super().__init__()
        for name, tensor in whole.items():
            flat = torch.nn.functional.pad(tensor.flatten(), (0, tensor.numel() % 2), value=torch.nan)
            parameter = torch.nn.Parameter(torch.empty(0), requires_grad=name != "frozen")
            parameter.ds_shape, parameter.ds_tensor = tensor.shape, flat.chunk(2)[rank].clone()
            self.register_parameter(name, parameter)
        self.tied = self.embedding
        self.register_buffer("scale", torch.tensor(3.0))


@pytest.fixture
def whole() -> dict[str, torch.Tensor]:
    return {"embedding": torch.randn(5, 3), "norm": torch.randn(1), "frozen": torch.randn(2, 2)}


def write_parts(folder: Path, whole: dict[str, torch.Tensor], trained_only: bool) -> Checkpoint:
    files = {}
    for rank in range(2):
        holder = torch.nn.Module()
        holder.model = Partitioned(whole, rank)
        path = str(folder / "step-00000003" / TAG / weights_name(rank))
        files[weights_name(rank)] = write_file(own_weights(holder, trained_only), folder / "staged", path)
    return Checkpoint(str(folder / "step-00000003"), 3, 2, None, files)


def test_weights_come_out_of_the_parts_of_two_workers(tmp_path, whole):
    found = checkpoint_weights(write_parts(tmp_path, whole, trained_only=False))
    assert {*found} == {*whole, "tied", "scale"}
    assert all(torch.equal(found[name], tensor) for name, tensor in whole.items())
    assert torch.equal(found["tied"], whole["embedding"])
    assert found["scale"] == 3


def test_frozen_weights_are_left_out(tmp_path, whole):
    assert {*checkpoint_weights(write_parts(tmp_path, whole, trained_only=True))} == {
        "embedding",
        "norm",
        "tied",
        "scale",
    }


def test_damaged_weights_are_not_exported(tmp_path, whole):
    checkpoint = write_parts(tmp_path, whole, trained_only=False)
    file = Path(checkpoint.path) / TAG / weights_name(1)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(TrainingError, match=r"weights-00001\.pt is damaged; set training\.export_chec"):
        checkpoint_weights(checkpoint)
    with pytest.raises(TrainingError, match="it has no weights"):
        checkpoint_weights(replace(checkpoint, files={"zero_pp_rank_0_mp_rank_00_optim_states.pt": (1, "")}))

"""The weights of a checkpoint, in the precision of training, without an engine or a GPU.

Under ZeRO-3 each worker writes its part of every parameter to `weights-RANK.pt`. At lower stages every worker has all
weights, and the first one's file of DeepSpeed has them.
"""

import math
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from factory.errors import TrainingError
from factory.storage import file_io
from factory.training.checkpointing.checkpoints import TAG, Checkpoint, changed_files, is_weights_file

PREFIX = "model."
"""Of the model in `PackedLoss`."""


def weights_name(rank: int) -> str:
    """Return the name of a worker's file of weights."""
    return f"weights-{rank:05}.pt"


def own_weights(module: torch.nn.Module, trained_only: bool) -> dict[str, Any]:
    """Return a worker's part of the weights of a module that ZeRO-3 has partitioned.

    Args:
        module: the engine's.
        trained_only: leave frozen parameters out.

    Returns:
        `parts`, flat tensors by name; `shapes`, those of the whole parameters; `buffers`, which every worker has whole;
        and `same`, the other names of tied parameters, each with its name in `parts`.
    """
    parts: dict[str, torch.Tensor] = {}
    shapes: dict[str, list[int]] = {}
    buffers: dict[str, torch.Tensor] = {}
    same: dict[str, str] = {}
    names: dict[int, str] = {}
    for name, value in module.state_dict(keep_vars=True).items():
        if id(value) in names:
            same[name] = names[id(value)]
        elif hasattr(value, "ds_tensor"):
            if value.requires_grad or not trained_only:
                names[id(value)] = name
                parts[name], shapes[name] = value.ds_tensor.detach(), list(value.ds_shape)
        else:
            buffers[name] = value.detach()
    return {"parts": parts, "shapes": shapes, "buffers": buffers, "same": same}


def checkpoint_weights(checkpoint: Checkpoint) -> dict[str, torch.Tensor]:
    """Return the weights of a checkpoint by name; with adapters, those of the adapters alone.

    Raises:
        TrainingError: a file is missing or changed.
    """
    names = sorted(filter(is_weights_file, checkpoint.files))
    if not names or (changed := changed_files(checkpoint, names)):
        found = f"{changed[0]} is damaged" if names else "it has no weights"
        raise TrainingError(
            f"{checkpoint.path}: {found}; set training.export_checkpoint to another checkpoint, or delete this one"
        )
    with tempfile.TemporaryDirectory(prefix="character-factory-") as temporary:
        local = [Path(temporary) / name for name in names]
        for name, path in zip(names, local, strict=True):
            file_io.get_file(file_io.join(checkpoint.path, TAG, name), str(path))
        return {name.removeprefix(PREFIX): tensor for name, tensor in _read(local).items()}


def _read(files: Sequence[Path]) -> dict[str, torch.Tensor]:
    # Written by us, and checked by their hashes: DeepSpeed's file has more than tensors in it.
    contents = [torch.load(path, map_location="cpu", weights_only=False) for path in files]
    if "module" in contents[0]:
        return dict(contents[0]["module"])
    first = contents[0]
    weights: dict[str, torch.Tensor] = {
        name: torch.cat([each["parts"][name] for each in contents])[: math.prod(shape)].view(shape)
        for name, shape in first["shapes"].items()
    }
    return {**weights, **first["buffers"], **{name: weights[of] for name, of in first["same"].items()}}

"""Checkpoints on their way back to the workers: each downloads what it needs, and a machine converts them."""

import argparse
import os
import re
import shutil
from pathlib import Path
from typing import Any

from factory.storage import file_io
from factory.training.checkpointing.checkpoints import TAG, Checkpoint, is_weights_only

_RANK = re.compile(r"zero_pp_rank_(\d+)_")


def files_to_load(checkpoint: Checkpoint, rank: int, local_rank: int, local_workers: int, convert: bool) -> list[str]:
    """Return the names of the files that a worker downloads, so that each machine has what its workers load.

    Args:
        checkpoint: to load.
        rank: the worker's, of all.
        local_rank: the worker's, of those on its machine.
        local_workers: the workers on its machine.
        convert: to another number of workers, for which a machine needs all files.
    """
    names = [name for name in sorted(checkpoint.files) if not is_weights_only(name)]
    if convert:
        return names[local_rank::local_workers]
    ranks = {name: int(found[1]) for name in names if (found := _RANK.search(name))}
    return [name for name in names if ranks.get(name) == rank or (name not in ranks and local_rank == 0)]


def download(checkpoint: Checkpoint, names: list[str], folder: Path) -> None:
    """Download files of a checkpoint to this machine."""
    (folder / TAG).mkdir(parents=True, exist_ok=True)
    for name in names:
        file_io.get_file(file_io.join(checkpoint.path, TAG, name), str(folder / TAG / name))


def bytes_to_load(checkpoint: Checkpoint, local_workers: int, convert: bool) -> int:
    """Return the approximate disk space that a machine needs to load a checkpoint for its workers.

    Conversion takes three times the size of all files: the saved ones, their fragments, and the merged ones.
    """
    sizes = {name: size for name, (size, _) in checkpoint.files.items() if not is_weights_only(name)}
    of_ranks = sum(size for name, size in sizes.items() if _RANK.search(name))
    shared = sum(sizes.values()) - of_ranks
    size = of_ranks + shared if convert else of_ranks * local_workers // checkpoint.workers + shared
    linked = "://" not in checkpoint.path
    return size * (3 if convert else 1) - (size if linked else 0)


def convert_to_universal(folder: Path) -> None:
    """Convert a checkpoint in place to DeepSpeed's universal format, which any number of workers can load."""
    from deepspeed.checkpoint.ds_to_universal import main as convert

    source = (folder / TAG).rename(folder / "as-saved")
    cores = max(1, (os.cpu_count() or 2) // 2)
    settings: dict[str, Any] = {
        "input_folder": str(source),
        "output_folder": str(folder / TAG),
        "num_extract_workers": cores,
        "num_merge_workers": cores,
        "keep_temp_folder": False,
        "strict": True,
        "inject_missing_state": True,  # ZeRO 1 and 2 require a field that Megatron alone writes
    }
    convert(argparse.Namespace(**settings))
    shutil.rmtree(source)

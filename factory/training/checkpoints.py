"""Training state in folders that are whole or do not count.

    checkpoints/step-00000120/state/...         what every worker's DeepSpeed engine wrote
    checkpoints/step-00000120/checkpoint.json   written last: step, workers, size and hash of each file

Ray Train's own checkpoint store is not used: it keeps its index in one file that is written in
place, and neither notices a damaged file nor goes back to the checkpoint before.
"""

import argparse
import hashlib
import json
import os
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from factory import storage

MANIFEST = "checkpoint.json"
DAMAGED = "damaged.json"
"""What the manifest of a damaged checkpoint is renamed to, so that it does not count any more."""
TAG = "state"


@dataclass(frozen=True)
class Checkpoint:
    """A whole checkpoint; `files` has the size and the hash of each, by its name in `state/`."""

    path: str
    step: int
    workers: int
    validation_loss: float
    files: dict[str, tuple[int, str]]


def path_of(folder: str, step: int) -> str:
    """The folder of a step's checkpoint."""
    return storage.join(folder, f"step-{step:08}")


def whole_checkpoints(folder: str) -> list[Checkpoint]:
    """The checkpoints that have a manifest, newest first."""
    found = []
    for name in storage.list_names(folder, ""):
        manifest = storage.join(folder, name, MANIFEST)
        if name.startswith("step-") and storage.exists(manifest):
            content = json.loads(storage.read_bytes(manifest))
            files = {file: (size, digest) for file, (size, digest) in content.pop("files").items()}
            found.append(Checkpoint(path=storage.join(folder, name), files=files, **content))
    return sorted(found, key=lambda one: -one.step)


def newest(folder: str) -> Checkpoint | None:
    """The checkpoint to go on from: the newest whose files are there in their sizes.

    One that lacks something is marked as damaged on the way.
    """
    for checkpoint in whole_checkpoints(folder):
        if all(_size(checkpoint, name) == size for name, (size, _) in checkpoint.files.items()):
            return checkpoint
        mark_damaged(checkpoint)
    return None


def _size(checkpoint: Checkpoint, name: str) -> int | None:
    path = storage.join(checkpoint.path, TAG, name)
    return storage.size(path) if storage.exists(path) else None


def mark_damaged(checkpoint: Checkpoint) -> None:
    """Keep a damaged checkpoint from being used, and what is left of it from being lost."""
    manifest = storage.join(checkpoint.path, MANIFEST)
    if storage.exists(manifest):
        storage.write_bytes(storage.join(checkpoint.path, DAMAGED), storage.read_bytes(manifest))
        storage.delete_file(manifest)


def damaged(folder: str) -> list[str]:
    """The names of checkpoints that were found damaged."""
    names = storage.list_names(folder, "")
    return [name for name in names if storage.exists(storage.join(folder, name, DAMAGED))]


def put(staged: Path, path: str) -> dict[str, tuple[int, str]]:
    """Move what one worker's engine wrote into the checkpoint's folder, and say what it was."""
    files = {}
    for file in sorted(staged.iterdir()):
        with file.open("rb") as content:
            files[file.name] = (file.stat().st_size, _digest(content))
        storage.put_file(str(file), storage.join(path, TAG, file.name))
    return files


def complete(checkpoint: Checkpoint) -> None:
    """Write the manifest: from now on the checkpoint counts."""
    content = asdict(checkpoint)
    del content["path"]
    storage.write_bytes(storage.join(checkpoint.path, MANIFEST), (json.dumps(content, indent=2) + "\n").encode())


def get(checkpoint: Checkpoint, folder: Path) -> None:
    """Bring a checkpoint to this machine."""
    (folder / TAG).mkdir(parents=True)
    for name in checkpoint.files:
        storage.get_file(storage.join(checkpoint.path, TAG, name), str(folder / TAG / name))


def changed_files(checkpoint: Checkpoint) -> list[str]:
    """The names of the files that are not what was written, byte by byte."""
    changed = []
    for name, (_, digest) in checkpoint.files.items():
        fs, path = storage.filesystem(storage.join(checkpoint.path, TAG, name))
        with storage.storage_errors(path), fs.open(path, "rb") as file:
            if _digest(file) != digest:
                changed.append(name)
    return changed


def for_other_workers(folder: Path) -> None:
    """Convert a checkpoint in place, so that another number of workers can load it (DeepSpeed's universal one)."""
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
        "inject_missing_state": False,
    }
    convert(argparse.Namespace(**settings))
    shutil.rmtree(source)


def drop_old(folder: str, keep: int) -> None:
    """Delete all but the newest few and the one with the lowest validation loss."""
    there = whole_checkpoints(folder)
    if len(there) <= keep:
        return
    best = min(there, key=lambda one: (one.validation_loss, one.step))
    for checkpoint in there[keep:]:
        if checkpoint != best:
            storage.delete_file(storage.join(checkpoint.path, MANIFEST))  # first, or half of one would count
            storage.delete_folder(checkpoint.path)


def needed_bytes(checkpoint: Checkpoint | None, trained: int, other: int) -> int:
    """About what the next checkpoint takes: as much as the last one, else by the number of parameters.

    A trained one takes 14 bytes (weight, master weight, two moments), another one 2.
    """
    return sum(size for size, _ in checkpoint.files.values()) if checkpoint else 14 * trained + 2 * other


def _digest(file: IO[bytes]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    while part := file.read(1 << 24):
        digest.update(part)
    return digest.hexdigest()

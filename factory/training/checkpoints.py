"""Checkpoints: folders of training state that are complete or ignored.

    checkpoints/step-00000120/state/...         written by the DeepSpeed engine of each worker
    checkpoints/step-00000120/checkpoint.json   written last: step, workers, size and hash of each file

Ray Train's own checkpoint store is not used: it keeps its index in one file that is written in
place, and it neither detects a damaged file nor falls back to the previous checkpoint.
"""

import argparse
import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from factory.records import content_id
from factory.storage import file_io
from factory.storage.cache import cache_folder

MANIFEST = "checkpoint.json"
DAMAGED = "damaged.json"
"""The manifest of a damaged checkpoint is renamed to this, so that it is ignored."""
TAG = "state"


@dataclass(frozen=True)
class Checkpoint:
    """A complete checkpoint; `files` has the size and the hash of each file, by its name in `state/`."""

    path: str
    step: int
    workers: int
    validation_loss: float | None
    """None if it was saved in haste: on a stop request, or because a node is preempted."""
    files: dict[str, tuple[int, str]]

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(size for size, _ in self.files.values())


def checkpoint_path(folder: str, step: int) -> str:
    """Return the folder of a step's checkpoint."""
    return file_io.join(folder, f"step-{step:08}")


def complete_checkpoints(folder: str) -> list[Checkpoint]:
    """Return the checkpoints whose files are all there with their sizes, newest first."""
    return list(_complete(folder))


def newest(folder: str) -> Checkpoint | None:
    """Return the checkpoint to go on from.

    Every worker calls it, and all must get the same: it only reads, and one listing of the folder decides.
    """
    return next(_complete(folder), None)


def _complete(folder: str) -> Iterator[Checkpoint]:
    sizes = file_io.sizes(folder)
    for checkpoint in _finished(folder, sizes):
        name = checkpoint.path.rpartition("/")[2]
        found = {file: sizes.get(f"{name}/{TAG}/{file}") for file in checkpoint.files}
        if found == {file: size for file, (size, _) in checkpoint.files.items()}:
            yield checkpoint


def _names_with(document: str, files: Iterable[str]) -> list[str]:
    """Return the names of checkpoints that have a document, newest first."""
    names = {name for name, _, file in (path.partition("/") for path in files) if file == document}
    return sorted((name for name in names if name.startswith("step-")), reverse=True)


def _finished(folder: str, files: Iterable[str]) -> Iterator[Checkpoint]:
    for name in _names_with(MANIFEST, files):
        if checkpoint := _read(folder, name):
            yield checkpoint


def _read(folder: str, name: str) -> Checkpoint | None:
    """Return a checkpoint as its manifest describes it; None if the manifest is damaged."""
    content = file_io.read_bytes(file_io.join(folder, name, MANIFEST))
    try:
        fields = json.loads(content)
        files = {file: (size, digest) for file, (size, digest) in fields.pop("files").items()}
        return Checkpoint(path=file_io.join(folder, name), files=files, **fields)
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


def finished_checkpoints(folder: str) -> list[Checkpoint]:
    """Return the checkpoints that have a manifest, even if their files are damaged since; newest first."""
    return list(_finished(folder, file_io.sizes(folder)))


def unreadable(folder: str) -> list[str]:
    """Return the paths of checkpoints whose manifest cannot be read."""
    names = _names_with(MANIFEST, file_io.sizes(folder))
    return [file_io.join(folder, name) for name in names if _read(folder, name) is None]


def mark_damaged(path: str) -> None:
    """Exclude a damaged checkpoint from use, and keep its files.

    Idempotent, also from two processes at once.
    """
    manifest = file_io.join(path, MANIFEST)
    content = file_io.read_if_there(manifest)
    if content is not None:
        file_io.write_bytes(file_io.join(path, DAMAGED), content)
        file_io.delete_file(manifest)


def damaged(folder: str) -> list[str]:
    """Return the names of checkpoints that were found damaged."""
    return sorted(_names_with(DAMAGED, file_io.sizes(folder)))


def staging(folder: str) -> Path:
    """Return the local folder for files on their way into a folder of checkpoints, or out of it.

    Local checkpoints are staged beside themselves, so that files are renamed and linked; others in the cache of
    models, which on a cluster is on a fast disk, under a name that is unique to the user and the checkpoints.
    """
    if "://" not in folder:
        return Path(folder)
    return cache_folder() / f"checkpoints-{os.getuid()}-{content_id(folder)}"


def upload(staged: Path, path: str) -> dict[str, tuple[int, str]]:
    """Move the files of one worker's engine into the checkpoint's folder; return size and hash by name."""
    files = {}
    for file in sorted(staged.iterdir()):
        with file.open("rb") as content:
            files[file.name] = (file.stat().st_size, _digest(content))
        file_io.put_file(str(file), file_io.join(path, TAG, file.name))
    return files


def write_manifest(checkpoint: Checkpoint) -> None:
    """Write the manifest, which completes the checkpoint."""
    file_io.write_bytes(file_io.join(checkpoint.path, MANIFEST), _document(checkpoint))


def _document(checkpoint: Checkpoint) -> bytes:
    content = asdict(checkpoint)
    del content["path"]
    return (json.dumps(content, indent=2) + "\n").encode()


def download(checkpoint: Checkpoint, folder: Path) -> None:
    """Download a checkpoint to this machine."""
    (folder / TAG).mkdir(parents=True)
    for name in checkpoint.files:
        file_io.get_file(file_io.join(checkpoint.path, TAG, name), str(folder / TAG / name))


def changed_files(checkpoint: Checkpoint) -> list[str]:
    """Return the names of files that are missing or differ from what was written, byte by byte."""
    folder = file_io.join(checkpoint.path, TAG)
    sizes = file_io.sizes(folder)

    def changed(name: str, size: int, digest: str) -> bool:
        return sizes.get(name) != size or _digest_of(file_io.join(folder, name)) != digest

    return [name for name, (size, digest) in checkpoint.files.items() if changed(name, size, digest)]


def _digest_of(path: str) -> str:
    fs, name = file_io.filesystem(path)
    with file_io.storage_errors(path), fs.open(name, "rb") as file:
        return _digest(file)


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


def choose(complete: Sequence[Checkpoint], name: str) -> Checkpoint | None:
    """Return the checkpoint that a name stands for, None if there is none.

    Args:
        complete: checkpoints, newest first.
        name: `last`; `best`, of the lowest validation loss, of equal ones the first; or a step such as `step-120`.
    """
    if name == "last":
        return next(iter(complete), None)
    if name == "best":
        validated = [each for each in complete if each.validation_loss is not None]
        return min(validated, key=lambda each: (each.validation_loss, each.step), default=None)
    return next((each for each in complete if f"step-{each.step}" == name), None)


def no_such_checkpoint(complete: Sequence[Checkpoint], name: str) -> str:
    """Return in one line that the checkpoint to export is not there, and which are."""
    there = ", ".join(f"step-{each.step}" for each in reversed(complete)) or "none"
    return (
        f"training.export_checkpoint: there is no checkpoint {name!r} of this training, and it will not come; "
        f"set it to last, to best, or to one that is there ({there})"
    )


def drop_old(folder: str, keep: int, exported: str = "last") -> None:
    """Delete all but the newest `keep`, the one with the lowest validation loss, and the one to export."""
    complete = complete_checkpoints(folder)
    kept = [*complete[:keep], choose(complete, "best"), choose(complete, exported)]
    for checkpoint in complete:
        if checkpoint not in kept:
            file_io.delete_file(file_io.join(checkpoint.path, MANIFEST))  # first: files without a manifest are ignored
            file_io.delete_folder(checkpoint.path)


def bytes_to_save(checkpoint: Checkpoint | None, trained: int) -> int:
    """Return the approximate size of the next checkpoint: that of the last one, else 14 bytes per trained parameter.

    These are weight, master weight and two moments. Frozen parameters are in no checkpoint.
    """
    return checkpoint.size if checkpoint else 14 * trained


def bytes_to_load(checkpoint: Checkpoint, convert: bool) -> int:
    """Return the approximate disk space that a machine needs to load a checkpoint.

    Conversion takes three times its size: the saved files, their fragments, and the merged ones.
    """
    linked = "://" not in checkpoint.path
    return checkpoint.size * (3 if convert else 1) - (checkpoint.size if linked else 0)


def _digest(file: IO[bytes]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    while part := file.read(1 << 24):
        digest.update(part)
    return digest.hexdigest()

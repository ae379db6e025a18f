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
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from factory.records import content_id
from factory.storage import file_io
from factory.storage.cache import cache_folder

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
    validation_loss: float | None
    """None where it was saved in haste: the run was asked to stop, or a node is to be taken away."""
    files: dict[str, tuple[int, str]]

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(size for size, _ in self.files.values())


def path_of(folder: str, step: int) -> str:
    """The folder of a step's checkpoint."""
    return file_io.join(folder, f"step-{step:08}")


def complete_checkpoints(folder: str) -> list[Checkpoint]:
    """The checkpoints whose files are all there in their sizes, newest first."""
    return list(_whole(folder))


def newest(folder: str) -> Checkpoint | None:
    """The checkpoint to go on from.

    Every worker asks, and all must hear the same: this only reads, and one listing of the folder decides.
    """
    return next(_whole(folder), None)


def _whole(folder: str) -> Iterator[Checkpoint]:
    sizes = file_io.sizes(folder)
    for checkpoint in _finished(folder, sizes):
        name = checkpoint.path.rpartition("/")[2]
        there = {file: sizes.get(f"{name}/{TAG}/{file}") for file in checkpoint.files}
        if there == {file: size for file, (size, _) in checkpoint.files.items()}:
            yield checkpoint


def _with(document: str, files: Iterable[str]) -> list[str]:
    """The names of checkpoints that have a document, newest first."""
    names = {name for name, _, file in (path.partition("/") for path in files) if file == document}
    return sorted((name for name in names if name.startswith("step-")), reverse=True)


def _finished(folder: str, files: Iterable[str]) -> Iterator[Checkpoint]:
    for name in _with(MANIFEST, files):
        if checkpoint := _read(folder, name):
            yield checkpoint


def _read(folder: str, name: str) -> Checkpoint | None:
    """A checkpoint as its manifest tells of it; None where that is not what was written."""
    content = file_io.read_bytes(file_io.join(folder, name, MANIFEST))
    try:
        told = json.loads(content)
        files = {file: (size, digest) for file, (size, digest) in told.pop("files").items()}
        return Checkpoint(path=file_io.join(folder, name), files=files, **told)
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


def finished_checkpoints(folder: str) -> list[Checkpoint]:
    """The checkpoints that have a manifest, whatever became of their files since; newest first."""
    return list(_finished(folder, file_io.sizes(folder)))


def unreadable(folder: str) -> list[str]:
    """The paths of checkpoints whose manifest cannot be read."""
    names = _with(MANIFEST, file_io.sizes(folder))
    return [file_io.join(folder, name) for name in names if _read(folder, name) is None]


def mark_damaged(path: str) -> None:
    """Keep a damaged checkpoint from being used, and what is left of it from being lost.

    Marking one twice, or from two processes at once, is the same as once.
    """
    manifest = file_io.join(path, MANIFEST)
    content = file_io.read_if_there(manifest)
    if content is not None:
        file_io.write_bytes(file_io.join(path, DAMAGED), content)
        file_io.delete_file(manifest)


def damaged(folder: str) -> list[str]:
    """The names of checkpoints that were found damaged."""
    return sorted(_with(DAMAGED, file_io.sizes(folder)))


def staging(folder: str) -> Path:
    """A local folder for what a worker is about to put into a folder of checkpoints, or brought out of it.

    It lies beside them where they are local, so that files are renamed and linked; else where models are kept,
    which on a cluster is its nodes' fast disk, under a name of this user's and these checkpoints' own.
    """
    if "://" not in folder:
        return Path(folder)
    return cache_folder() / f"checkpoints-{os.getuid()}-{content_id(folder)}"


def upload(staged: Path, path: str) -> dict[str, tuple[int, str]]:
    """Move what one worker's engine wrote into the checkpoint's folder, and say what it was."""
    files = {}
    for file in sorted(staged.iterdir()):
        with file.open("rb") as content:
            files[file.name] = (file.stat().st_size, _digest(content))
        file_io.put_file(str(file), file_io.join(path, TAG, file.name))
    return files


def write_manifest(checkpoint: Checkpoint) -> None:
    """Write the manifest: from now on the checkpoint counts."""
    file_io.write_bytes(file_io.join(checkpoint.path, MANIFEST), _document(checkpoint))


def _document(checkpoint: Checkpoint) -> bytes:
    content = asdict(checkpoint)
    del content["path"]
    return (json.dumps(content, indent=2) + "\n").encode()


def download(checkpoint: Checkpoint, folder: Path) -> None:
    """Bring a checkpoint to this machine."""
    (folder / TAG).mkdir(parents=True)
    for name in checkpoint.files:
        file_io.get_file(file_io.join(checkpoint.path, TAG, name), str(folder / TAG / name))


def changed_files(checkpoint: Checkpoint) -> list[str]:
    """The names of the files that are gone, or not what was written, byte by byte."""
    folder = file_io.join(checkpoint.path, TAG)
    sizes = file_io.sizes(folder)

    def changed(name: str, size: int, digest: str) -> bool:
        return sizes.get(name) != size or _digest_of(file_io.join(folder, name)) != digest

    return [name for name, (size, digest) in checkpoint.files.items() if changed(name, size, digest)]


def _digest_of(path: str) -> str:
    fs, name = file_io.filesystem(path)
    with file_io.storage_errors(path), fs.open(name, "rb") as file:
        return _digest(file)


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
        "inject_missing_state": True,  # ZeRO 1 and 2 ask for a note that Megatron alone writes
    }
    convert(argparse.Namespace(**settings))
    shutil.rmtree(source)


def drop_old(folder: str, keep: int) -> None:
    """Delete all but the newest few and the one with the lowest validation loss."""
    there = complete_checkpoints(folder)
    if len(there) <= keep:
        return
    losses = [(one.validation_loss, one.step) for one in there if one.validation_loss is not None]
    best = min(losses)[1] if losses else None
    for checkpoint in there[keep:]:
        if checkpoint.step != best:
            file_io.delete_file(file_io.join(checkpoint.path, MANIFEST))  # first, or half of one would count
            file_io.delete_folder(checkpoint.path)


def bytes_to_save(checkpoint: Checkpoint | None, trained: int) -> int:
    """About what the next checkpoint takes: as much as the last one, else by the number of trained parameters.

    One takes 14 bytes: weight, master weight, two moments. Frozen ones are in no checkpoint.
    """
    return checkpoint.size if checkpoint else 14 * trained


def bytes_to_load(checkpoint: Checkpoint, convert: bool) -> int:
    """About what a machine needs to load a checkpoint.

    To convert one takes thrice its size: what was saved, its fragments, and what they are put together to.
    """
    linked = "://" not in checkpoint.path
    return checkpoint.size * (3 if convert else 1) - (checkpoint.size if linked else 0)


def _digest(file: IO[bytes]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    while part := file.read(1 << 24):
        digest.update(part)
    return digest.hexdigest()

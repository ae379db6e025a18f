"""Checkpoints: folders of training state that are complete or ignored.

    checkpoints/step-00000120/state/...         what the DeepSpeed engine of each worker saves, and under ZeRO-3 its
                                                part of the weights
    checkpoints/step-00000120/checkpoint.json   written last: step, workers, size and hash of each file

Ray Train's own checkpoint store is not used: it keeps its index in one file that is written in
place, and it neither detects a damaged file nor falls back to the previous checkpoint.
"""

import hashlib
import json
import os
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import IO, Any

from factory.errors import ConfigError
from factory.records import content_id
from factory.storage import file_io
from factory.storage.cache import cache_folder

MANIFEST = "checkpoint.json"
DAMAGED = "damaged.json"
"""The manifest of a damaged checkpoint is renamed to this, so that it is ignored."""
TAG = "state"
WEIGHTS_OF_ALL = "mp_rank_00_model_states.pt"
"""DeepSpeed's name of the file that the first worker writes below ZeRO-3."""
RESUMABLE_KEPT = 2
"""Newest checkpoints that keep the optimizer's state: if the last one is damaged, training goes on from the other."""


DIGEST_BYTES = 16
Files = dict[str, tuple[int, str]]
"""The size and the hash of each file, by its name."""


@dataclass(frozen=True)
class Checkpoint:
    """A complete checkpoint; `files` has the size and the hash of each file, by its name in `state/`."""

    path: str
    step: int
    workers: int
    validation_loss: float | None
    """None if it was saved in haste: on a stop request, or because a node is preempted."""
    files: Files

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(size for size, _ in self.files.values())

    @property
    def is_resumable(self) -> bool:
        """Whether training can go on from it; of older ones the weights alone are kept."""
        return not all(is_weights_file(name) for name in self.files)


def is_weights_only(name: str) -> bool:
    """Return whether a file has weights that no engine reads."""
    return name.startswith("weights-")


def is_weights_file(name: str) -> bool:
    """Return whether a file is one of those that a model can be exported from."""
    return is_weights_only(name) or name == WEIGHTS_OF_ALL


def checkpoint_path(folder: str, step: int) -> str:
    """Return the folder of a step's checkpoint."""
    return file_io.join(folder, f"step-{step:08}")


def complete_checkpoints(folder: str) -> list[Checkpoint]:
    """Return the checkpoints whose files are all there with their sizes, newest first."""
    return list(_complete(folder))


def newest(folder: str) -> Checkpoint | None:
    """Return the checkpoint to go on from, None if there is none.

    Every worker calls it, and all must get the same: it only reads, and one listing of the folder decides.
    """
    return next((each for each in _complete(folder) if each.is_resumable), None)


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


def write_manifest(checkpoint: Checkpoint) -> None:
    """Write the manifest, which completes the checkpoint."""
    file_io.write_bytes(file_io.join(checkpoint.path, MANIFEST), _document(checkpoint))


def _document(checkpoint: Checkpoint) -> bytes:
    content = asdict(checkpoint)
    del content["path"]
    return (json.dumps(content, indent=2) + "\n").encode()


def changed_files(checkpoint: Checkpoint, names: Collection[str]) -> list[str]:
    """Return which of a checkpoint's files are missing or differ from what was written, byte by byte."""
    folder = file_io.join(checkpoint.path, TAG)
    sizes = file_io.sizes(folder)

    def changed(name: str, size: int, digest: str) -> bool:
        return sizes.get(name) != size or _digest_of(file_io.join(folder, name)) != digest

    return [name for name in names if changed(name, *checkpoint.files[name])]


def _digest_of(path: str) -> str:
    fs, name = file_io.filesystem(path)
    with file_io.storage_errors(path), fs.open(name, "rb") as file:
        return _digest(file)


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


def checkpoint_to_export(folder: str, name: str) -> Checkpoint:
    """Return the checkpoint that a name stands for.

    Raises:
        ConfigError: there is none.
    """
    complete = complete_checkpoints(folder)
    chosen = choose(complete, name)
    if chosen is None:
        raise ConfigError(no_such_checkpoint(complete, name))
    return chosen


def no_such_checkpoint(complete: Sequence[Checkpoint], name: str) -> str:
    """Return in one line that the checkpoint to export is not there, and which are."""
    there = ", ".join(f"step-{each.step}" for each in reversed(complete)) or "none"
    return (
        f"training.export_checkpoint: there is no checkpoint {name!r} of this training, and it will not come; "
        f"set it to last, to best, or to one that is there ({there})"
    )


def drop_old(folder: str, keep: int, exported: str = "last") -> None:
    """Delete all but the newest `keep`, the one with the lowest validation loss, and the one to export.

    The two newest stay whole; of the others the weights are kept.
    """
    complete = complete_checkpoints(folder)
    kept = [*complete[:keep], choose(complete, "best"), choose(complete, exported)]
    for number, checkpoint in enumerate(complete):
        if checkpoint not in kept:
            file_io.delete_file(file_io.join(checkpoint.path, MANIFEST))  # first: files without a manifest are ignored
            file_io.delete_folder(checkpoint.path)
        elif number >= RESUMABLE_KEPT:
            _keep_weights(checkpoint)


def _keep_weights(checkpoint: Checkpoint) -> None:
    """Delete the files that only resuming needs, after the manifest says so; idempotent after a kill."""
    weights = {name: each for name, each in checkpoint.files.items() if is_weights_file(name)}
    if not weights:  # of an earlier version
        return
    if weights != checkpoint.files:
        write_manifest(replace(checkpoint, files=weights))
    state = file_io.join(checkpoint.path, TAG)
    for name in file_io.sizes(state):
        if name not in weights:
            file_io.delete_file(file_io.join(state, name))


def delete_unfinished(folder: str) -> None:
    """Delete what killed runs left of checkpoints; damaged ones are kept."""
    found = file_io.sizes(folder)
    finished = {*_names_with(MANIFEST, found), *_names_with(DAMAGED, found)}
    names = {name for name, _, _ in (path.partition("/") for path in found) if name.startswith("step-")}
    for name in sorted(names - finished):
        file_io.delete_folder(file_io.join(folder, name))


def bytes_to_save(checkpoint: Checkpoint | None, trained: int, weight_bytes: int) -> int:
    """Return the approximate size of the next checkpoint: that of the last one, else by its parameters.

    Each has a weight, and in float32 a master weight and two moments. Frozen parameters are in no checkpoint.
    """
    return checkpoint.size if checkpoint and checkpoint.is_resumable else (12 + weight_bytes) * trained


def new_digest() -> Any:
    """Return the hash that files of checkpoints are checked with."""
    return hashlib.blake2b(digest_size=DIGEST_BYTES)


def _digest(file: IO[bytes]) -> str:
    digest = new_digest()
    while part := file.read(1 << 24):
        digest.update(part)
    return str(digest.hexdigest())

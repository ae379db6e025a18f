"""Models in local folders and in buckets, whose revision is a hash of their files."""

import hashlib
from fnmatch import fnmatch
from functools import cache
from pathlib import Path
from typing import Any

from factory.errors import ModelError
from factory.inference.hub_models import SMALL_FILES
from factory.storage import file_io, folder_moves

MANIFEST = "manifest.json"
"""Written last into the folder of a model that this factory trained; no part of the model."""
WHOLE_BYTES = 2**20
"""Files up to this size are read completely for a model's revision."""
BLOCK_BYTES = 4096
BLOCKS = 256
"""How many blocks of all larger files together are read besides: 0.1 s on a disk, seconds on S3, for 140 GB too.
Spread evenly, they also meet the tenth of the weights that merged adapters change."""


def folder_revision(ref: str) -> str:
    """Return the revision of a model in a local folder.

    Raises:
        ModelError: the folder holds no complete model.
    """
    folder = Path(ref)
    if not (folder / "config.json").is_file():
        raise ModelError(f"model {ref!r}: the folder has no config.json; give a Hugging Face model folder")
    if not any(folder.glob("*.safetensors")):
        raise ModelError(f"model {ref!r}: the folder has no *.safetensors weights")
    _check_complete(ref, {path.name for path in folder.iterdir()})
    return files_revision(ref)


def files_revision(ref: str) -> str:
    """Return a hash of the files in a local folder or a bucket, as a model's revision is one."""
    return _digest(ref, _files(ref))


def is_finished(folder: str) -> bool:
    """Return whether a training of this factory has written all of a folder or of a place in a bucket."""
    names = file_io.sizes(folder)
    return MANIFEST in names and folder_moves.COPYING not in names


def finished_fingerprint(folder: str) -> str | None:
    """Return the fingerprint of the training that exported a model's folder; None if it is not finished."""
    fingerprint = (file_io.read_document(file_io.join(folder, MANIFEST)) or {}).get("fingerprint")
    return None if fingerprint is None else str(fingerprint)


@cache
def bucket_revision(ref: str) -> str:
    """Return the revision of a model in a bucket; once per process, as it reads parts of the weights.

    Raises:
        ModelError: there is no complete model.
    """
    return _digest(ref, _files_in_bucket(ref))


def bucket_version(ref: str) -> str:
    """Return a hash of the objects' ETags: it takes one listing, where `bucket_revision` reads parts of the weights."""
    tags = sorted(
        f"{file['name']} {file.get('ETag') or file.get('etag')} {file['size']}" for file in _files_in_bucket(ref)
    )
    return hashlib.sha256("\n".join(tags).encode()).hexdigest()[:12]


def download_from_bucket(ref: str, folder: Path, weights: bool) -> None:
    """Download a model from a bucket to a local folder."""
    fs, _ = file_io.filesystem(ref)
    with file_io.storage_errors(ref):
        for entry in (file["name"] for file in _files(ref)):
            file = entry.rsplit("/", 1)[-1]
            if (weights and file != folder_moves.COPYING) or any(fnmatch(file, pattern) for pattern in SMALL_FILES):
                fs.get_file(entry, str(folder / file))


def _files_in_bucket(ref: str) -> list[dict[str, Any]]:
    found = _files(ref)
    names = {file["name"].rsplit("/", 1)[-1] for file in found}
    _check_complete(ref, names)
    if "config.json" not in names or not any(name.endswith(".safetensors") for name in names):
        raise ModelError(f"model {ref!r}: holds no Hugging Face model (config.json and *.safetensors)")
    return found


def _check_complete(ref: str, names: set[str]) -> None:
    """Raise ModelError for a folder that a training is still writing, or was killed while writing."""
    if MANIFEST not in names and names & {folder_moves.COPYING, folder_moves.MOVED}:
        raise ModelError(
            f"model {ref!r}: is not complete, as it has no {MANIFEST} yet; wait for the training that writes it, "
            "or run that again with the same config"
        )


def _files(ref: str) -> list[dict[str, Any]]:
    """Return the files of a folder, without those of its subfolders."""
    fs, name = file_io.filesystem(ref)
    with file_io.storage_errors(ref):
        found = fs.ls(name, detail=True) if fs.exists(name) else []
    return [file for file in found if file["type"] == "file" and not file["name"].endswith("/")]


def _digest(ref: str, found: list[dict[str, Any]]) -> str:
    """Return a hash of a model's files: names, sizes, the content of small ones, and some blocks of large ones."""
    patterns = [*SMALL_FILES, "*.safetensors"]
    sizes = {str(file["name"]): int(file["size"] or 0) for file in found}
    names = {path: path.rsplit("/", 1)[-1] for path in sorted(sizes)}
    # The manifest describes the run that trained the model.
    paths = [p for p, n in names.items() if n != MANIFEST and any(fnmatch(n, pattern) for pattern in patterns)]
    large = sum(sizes[path] > WHOLE_BYTES for path in paths)
    ranges = [(path, *part) for path in paths for part in _blocks(sizes[path], BLOCKS // max(1, large))]
    fs, _ = file_io.filesystem(ref)
    with file_io.storage_errors(ref):
        read = fs.cat_ranges(*map(list, zip(*ranges, strict=True)), on_error="raise")
    digest = hashlib.sha256("\n".join(f"{names[path]} {sizes[path]}" for path in paths).encode())
    for block in read:
        digest.update(block)
    return digest.hexdigest()[:12]


def _blocks(size: int, blocks: int) -> list[tuple[int, int]]:
    """Return start and end of the parts of a file that are read."""
    if size <= WHOLE_BYTES:
        return [(0, size)] if size else []
    step = (size - BLOCK_BYTES) / (max(8, blocks) - 1)
    return [(round(n * step), round(n * step) + BLOCK_BYTES) for n in range(max(8, blocks))]

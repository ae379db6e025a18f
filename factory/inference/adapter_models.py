"""Adapters that were left apart: a folder of them is used as the whole model that they make of their base."""

import shutil
from fnmatch import fnmatch
from pathlib import Path

from factory.config import EMBEDDED, EMBEDDED_NAME
from factory.errors import ModelError
from factory.extras import require_extra
from factory.inference.hub_models import SMALL_FILES, TOKENIZER_FILES
from factory.storage import file_io

ADAPTERS, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"


def base_of_adapters(ref: str) -> str | None:
    """Return the base model of a folder of adapters, local or in a bucket, as a config names it; None for a model.

    Raises:
        ModelError: the adapters are not complete, or name no base model.
    """
    if ref == EMBEDDED or not (ref.startswith(file_io.BUCKETS) or Path(ref).is_dir()):
        return None
    content = file_io.read_document(file_io.join(ref, ADAPTERS))
    if content is None or file_io.exists(file_io.join(ref, "config.json")):
        return None
    base = content.get("base_model_name_or_path")
    if not isinstance(base, str) or not base:
        raise ModelError(f"model {ref!r}: its {ADAPTERS} has no base_model_name_or_path; name the base model there")
    if not file_io.exists(file_io.join(ref, WEIGHTS)):
        raise ModelError(f"model {ref!r}: holds adapters without {WEIGHTS}; give a folder that has them")
    require_extra("a model of adapters", "train", "peft")
    revision = content.get("revision")
    if base == EMBEDDED_NAME:
        return EMBEDDED
    return f"{base}@{revision}" if revision and "/" in base and not Path(base).is_absolute() else base


def merge_adapters(base: str, adapters: str, target: Path, weights: bool) -> None:
    """Write the model that adapters make of their base to a folder.

    Args:
        base: the folder of the base model.
        adapters: their folder.
        target: the folder to write to.
        weights: False if the tokenizer and the config are enough.
    """
    if weights:
        _merge_weights(base, adapters, target)
    else:
        _copy(base, target, SMALL_FILES)
    _copy(adapters, target, [*TOKENIZER_FILES, "generation_config.json"])


def _merge_weights(base: str, adapters: str, target: Path) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(base, dtype="auto", trust_remote_code=False)
    merged = PeftModel.from_pretrained(model, adapters).merge_and_unload()
    merged.save_pretrained(target)


def _copy(source: str, target: Path, patterns: list[str]) -> None:
    for path in sorted(Path(source).iterdir()):
        if path.is_file() and any(fnmatch(path.name, pattern) for pattern in patterns):
            shutil.copyfile(path, target / path.name)

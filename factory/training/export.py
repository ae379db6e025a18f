"""The trained model as a Hugging Face folder: weights, tokenizer, chat template, generation config, card."""

import json
import os
import shutil
import tempfile
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from factory.config import EMBEDDED
from factory.inference.model_files import MANIFEST
from factory.run_output.licenses import public_name
from factory.storage import archive, file_io, folder_moves
from factory.storage.folder_moves import COPYING
from factory.storage.local_files import sync
from factory.training.dialogue import tokenizer_for

if TYPE_CHECKING:
    from factory.training.worker import Setup


def export_model(weights: dict[str, Any], base_folder: str, setup: "Setup") -> None:
    """Write the model's folder, whole or not at all; on S3 its manifest is written last."""
    training = setup.training
    with tempfile.TemporaryDirectory() as temporary:
        staged = Path(temporary) / "model"
        tokenizer = tokenizer_for(setup.base_model, training.chat_template)
        if training.lora:
            _save_adapted(weights, base_folder, setup, staged, tokenizer.end_of_turn)
        else:
            _save_full(weights, base_folder, staged, tokenizer.end_of_turn)
        tokenizer.save(str(staged))
        (staged / "README.md").write_text(setup.card)
        (staged / MANIFEST).write_text(json.dumps({"fingerprint": setup.fingerprint}) + "\n")
        for file in staged.iterdir():
            file.chmod(0o644)  # safetensors are written for their owner alone
        publish(staged, setup.model_folder)


def _save_full(weights: dict[str, Any], base_folder: str, staged: Path, end: int) -> None:
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.from_pretrained(base_folder, trust_remote_code=False)
    dtype = next(iter(weights.values())).dtype
    model = AutoModelForCausalLM.from_config(config, dtype=dtype, trust_remote_code=False)
    model.load_state_dict(weights)  # tied weights are tied again, so they are written once
    model.generation_config = _generation_config(model, base_folder, end)
    model.save_pretrained(staged)


def _save_adapted(weights: dict[str, Any], base_folder: str, setup: "Setup", staged: Path, end: int) -> None:
    from peft import set_peft_model_state_dict
    from transformers import AutoModelForCausalLM

    from factory.training.model import DTYPES, with_adapters

    lora = setup.training.lora
    assert lora is not None
    dtype = DTYPES[setup.training.precision]
    base = AutoModelForCausalLM.from_pretrained(base_folder, dtype=dtype, trust_remote_code=False)
    adapted = with_adapters(base, lora)
    told: Any = set_peft_model_state_dict(adapted, {name.replace(".default", ""): one for name, one in weights.items()})
    assert not told.unexpected_keys, told.unexpected_keys
    if lora.merge:
        merged = adapted.merge_and_unload()
        merged.generation_config = _generation_config(merged, base_folder, end)
        merged.save_pretrained(staged)
    else:
        adapted.save_pretrained(staged)
        _name_base(staged / "adapter_config.json", setup.training.base_model)


def _name_base(config: Path, base_model: str) -> None:
    """Adapters are of a model that others can have, and were loaded out of this machine's cache."""
    told = json.loads(config.read_text())
    local = base_model != EMBEDDED and base_model.startswith(("/", *file_io.BUCKETS))
    told["base_model_name_or_path"] = base_model if local else public_name(base_model)
    config.write_text(json.dumps(told, indent=2) + "\n")


def _generation_config(model: Any, base_folder: str, end: int) -> Any:
    """The base's, or what its config tells; generation stops at the end of a turn too, which a Base model knows not."""
    from transformers import GenerationConfig

    there = (Path(base_folder) / "generation_config.json").exists()
    made = GenerationConfig.from_pretrained(base_folder) if there else GenerationConfig.from_model_config(model.config)
    stops = made.eos_token_id if isinstance(made.eos_token_id, list) else [made.eos_token_id]
    made.eos_token_id = list(dict.fromkeys([*(one for one in stops if one is not None), end]))
    return made


def publish(staged: Path, target: str) -> None:
    """Put a finished folder in its place; a kill leaves the old one, the new one, or one marked as not whole."""
    if "://" in target:
        file_io.write_bytes(file_io.join(target, COPYING), b"")
        for name in sorted(file_io.sizes(target), key=lambda name: name != MANIFEST):
            if name != COPYING:
                file_io.delete_file(file_io.join(target, name))
        for name in sorted((path.name for path in staged.iterdir()), key=lambda name: name == MANIFEST):
            file_io.put_file(str(staged / name), file_io.join(target, name))
        file_io.delete_file(file_io.join(target, COPYING))
        return
    draft, old = (Path(f"{target}.{uuid.uuid4().hex}.tmp") for _ in range(2))
    try:
        shutil.move(staged, draft)
        for file in draft.iterdir():
            sync(str(file))
        sync(str(draft))
        with suppress(FileNotFoundError):
            os.rename(target, old)  # not deleted in its place, where a kill would leave half of one
        draft.rename(target)
        sync(os.path.dirname(target))
    finally:
        for one in (draft, old):
            shutil.rmtree(one, ignore_errors=True)


def finished_fingerprint(folder: str) -> str | None:
    """The fingerprint of the run that a model's folder came out of; None where none is finished."""
    fingerprint = (file_io.read_document(file_io.join(folder, MANIFEST)) or {}).get("fingerprint")
    return None if fingerprint is None else str(fingerprint)


def set_aside(output: str, name: str, fingerprint: str, say: Callable[[str], object] = lambda line: None) -> None:
    """Move a model that other settings made to `archive/`, and take back one that these made."""
    folder_moves.settle(output, name, MANIFEST)
    folder = file_io.join(output, name)
    before = finished_fingerprint(folder)
    if before == fingerprint:
        return
    if before or _is_anothers(folder):
        place = archive.archive_folder(output, name, before or archive.UNKNOWN, MANIFEST)
        say(f"{name}: was not trained with these settings; it is in {place}")
    kept = archive.archived_folders(output, name, fingerprint, MANIFEST)
    whole = [one for one in kept if finished_fingerprint(file_io.join(output, one)) == fingerprint]
    if whole:
        file_io.delete_folder(folder)  # half of one that a kill left
        folder_moves.move_folder(output, whole[0], name, MANIFEST)


def _is_anothers(folder: str) -> bool:
    """Whether a folder holds what no training of ours put there, nor began to."""
    return file_io.exists(folder) and not file_io.exists(file_io.join(folder, COPYING))

"""Export of the trained model as a Hugging Face folder: weights, tokenizer, chat template, generation config."""

import json
import os
import shutil
import tempfile
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from factory.config import EMBEDDED
from factory.inference.hub_models import split_revision
from factory.inference.stored_models import MANIFEST, finished_fingerprint
from factory.run_output.licenses import public_name
from factory.storage import archive, file_io, folder_moves
from factory.storage.folder_moves import COPYING
from factory.storage.local_files import sync
from factory.training.adapters import with_adapters
from factory.training.dialogue import tokenizer_for
from factory.training.earlier_keys import add_earlier_keys
from factory.training.token_rows import as_peft_names, module_name, resize, trained_tokens
from factory.training.worker_setup import ModelSetup


def export_model(weights: dict[str, Any], base_folder: str, setup: ModelSetup) -> None:
    """Write the model's folder atomically; on S3 its manifest is written last."""
    training = setup.training
    with tempfile.TemporaryDirectory() as temporary:
        staged = Path(temporary) / "model"
        tokenizer = tokenizer_for(setup.base_model, training)
        if training.lora:
            _save_adapted(weights, base_folder, setup, staged, tokenizer.end_of_turn)
        else:
            _save_full(weights, base_folder, staged, tokenizer.end_of_turn)
        if (staged / "config.json").exists():  # separate adapters have none
            add_earlier_keys(staged / "config.json")
        tokenizer.save(str(staged))
        (staged / MANIFEST).write_text(json.dumps({"fingerprint": setup.fingerprint}) + "\n")
        for file in staged.iterdir():
            file.chmod(0o644)  # safetensors creates files that only their owner can read
        publish(staged, setup.model_folder)


def _save_full(weights: dict[str, Any], base_folder: str, staged: Path, end: int) -> None:
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.from_pretrained(base_folder, trust_remote_code=False)
    dtype = next(iter(weights.values())).dtype
    model = AutoModelForCausalLM.from_config(config, dtype=dtype, trust_remote_code=False)
    resize(model, len(weights[f"{module_name(model, model.get_input_embeddings())}.weight"]))
    model.load_state_dict(weights)  # ties tied weights again, so that they are written once
    model.generation_config = _generation_config(model, base_folder, end)
    model.save_pretrained(staged)


def _save_adapted(weights: dict[str, Any], base_folder: str, setup: ModelSetup, staged: Path, end: int) -> None:
    from peft import set_peft_model_state_dict
    from transformers import AutoModelForCausalLM

    from factory.training.model import DTYPES

    lora = setup.training.lora
    assert lora is not None
    dtype = DTYPES[setup.training.precision]
    base = AutoModelForCausalLM.from_pretrained(base_folder, dtype=dtype, trust_remote_code=False)
    tied = base.get_output_embeddings().weight is base.get_input_embeddings().weight
    tokens = trained_tokens(weights)
    if tokens:
        resize(base, max(tokens) + 1)
    adapted = with_adapters(base, lora, tokens)
    adapters = {name.replace(".default", ""): tensor for name, tensor in weights.items() if ".lora_" in name}
    loaded: Any = set_peft_model_state_dict(adapted, adapters | as_peft_names(weights, tied))
    assert not loaded.unexpected_keys, loaded.unexpected_keys
    ends = _generation_config(base, base_folder, end)
    if lora.merge:
        merged = adapted.merge_and_unload()
        merged.generation_config = ends
        merged.save_pretrained(staged)
    else:
        adapted.save_pretrained(staged)
        ends.save_pretrained(staged)  # peft leaves it alone; who merges the adapters copies it
        _set_base_name(staged / "adapter_config.json", setup.training.base_model, setup.base_model)


def _set_base_name(config: Path, base_model: str, pinned: str) -> None:
    """Replace the path of the base model in this machine's cache by the name and commit by which others find it."""
    content = json.loads(config.read_text())
    local = base_model != EMBEDDED and base_model.startswith(("/", *file_io.BUCKETS))
    content["base_model_name_or_path"] = base_model if local else public_name(base_model)
    content["revision"] = None if local or base_model == EMBEDDED else split_revision(pinned)[1]
    config.write_text(json.dumps(content, indent=2) + "\n")


def _generation_config(model: Any, base_folder: str, end: int) -> Any:
    """Return the base model's generation config, extended to stop at the end of a turn."""
    from transformers import GenerationConfig

    if (Path(base_folder) / "generation_config.json").exists():
        config = GenerationConfig.from_pretrained(base_folder)
    else:
        config = GenerationConfig.from_model_config(model.config)
    stops = config.eos_token_id if isinstance(config.eos_token_id, list) else [config.eos_token_id]
    config.eos_token_id = list(dict.fromkeys([*(token for token in stops if token is not None), end]))
    return config


def publish(staged: Path, target: str) -> None:
    """Move a finished folder to its target; a kill leaves the old one, the new one, or one marked as incomplete."""
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
            os.rename(target, old)  # renamed, as a kill during deletion would leave half of it
        draft.rename(target)
        sync(os.path.dirname(target))
    finally:
        for folder in (draft, old):
            shutil.rmtree(folder, ignore_errors=True)


def set_aside(output: str, name: str, fingerprint: str, say: Callable[[str], object] = lambda line: None) -> None:
    """Move a model of other settings to `archive/`, and restore one of these settings from there."""
    folder_moves.settle(output, name, MANIFEST)
    folder = file_io.join(output, name)
    before = finished_fingerprint(folder)
    if before == fingerprint:
        return
    if before or _is_foreign(folder):
        archived = archive.archive_folder(output, name, before or archive.UNKNOWN, MANIFEST)
        say(f"{name}: was not trained with these settings; it is now in {archived}")
    kept = archive.archived_folders(output, name, fingerprint, MANIFEST)
    complete = [each for each in kept if finished_fingerprint(file_io.join(output, each)) == fingerprint]
    if complete:
        file_io.delete_folder(folder)  # incomplete, left by a kill
        folder_moves.move_folder(output, complete[0], name, MANIFEST)


def _is_foreign(folder: str) -> bool:
    """Return whether a folder has content that no training of ours wrote or began to write."""
    return file_io.exists(folder) and not file_io.exists(file_io.join(folder, COPYING))

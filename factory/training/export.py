"""The trained model as a Hugging Face folder: weights, tokenizer, chat template, generation config, card."""

import json
import shutil
import tempfile
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from factory import storage
from factory.config import EMBEDDED, RunConfig
from factory.training.dialogue import tokenizer_for

if TYPE_CHECKING:
    from factory.training.worker import Setup

MANIFEST = "manifest.json"


def export_model(weights: dict[str, Any], base_folder: str, setup: "Setup") -> None:
    """Write the model's folder, whole or not at all; on S3 its manifest is written last."""
    training = setup.training
    with tempfile.TemporaryDirectory() as temporary:
        staged = Path(temporary) / "model"
        if training.lora:
            _save_adapted(weights, base_folder, setup, staged)
        else:
            _save_full(weights, base_folder, staged)
        tokenizer_for(setup.base_model, training.chat_template).save(str(staged))
        (staged / "README.md").write_text(setup.card)
        (staged / MANIFEST).write_text(json.dumps({"fingerprint": setup.fingerprint}) + "\n")
        for file in staged.iterdir():
            file.chmod(0o644)  # safetensors are written for their owner alone
        publish(staged, setup.model_folder)


def _save_full(weights: dict[str, Any], base_folder: str, staged: Path) -> None:
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.from_pretrained(base_folder)
    model = AutoModelForCausalLM.from_config(config, dtype=next(iter(weights.values())).dtype)
    model.load_state_dict(weights)  # tied weights are tied again, so they are written once
    _keep_generation_config(model, base_folder)
    model.save_pretrained(staged)


def _save_adapted(weights: dict[str, Any], base_folder: str, setup: "Setup", staged: Path) -> None:
    from peft import set_peft_model_state_dict
    from transformers import AutoModelForCausalLM

    from factory.training.model import DTYPES, with_adapters

    lora = setup.training.lora
    assert lora is not None
    base = AutoModelForCausalLM.from_pretrained(base_folder, dtype=DTYPES[setup.training.precision])
    adapted = with_adapters(base, lora)
    told: Any = set_peft_model_state_dict(adapted, {name.replace(".default", ""): one for name, one in weights.items()})
    assert not told.unexpected_keys, told.unexpected_keys
    if lora.merge:
        merged = adapted.merge_and_unload()
        _keep_generation_config(merged, base_folder)
        merged.save_pretrained(staged)
    else:
        adapted.save_pretrained(staged)


def _keep_generation_config(model: Any, base_folder: str) -> None:
    from transformers import GenerationConfig

    if (Path(base_folder) / "generation_config.json").exists():
        model.generation_config = GenerationConfig.from_pretrained(base_folder)


def publish(staged: Path, target: str) -> None:
    """Put a finished folder in its place; a kill leaves the old one, the new one, or one without manifest."""
    if "://" in target:
        storage.delete_folder(target)
        names = sorted((path.name for path in staged.iterdir()), key=lambda name: name == MANIFEST)
        for name in names:
            storage.put_file(str(staged / name), storage.join(target, name))
        return
    draft = Path(f"{target}.{uuid.uuid4().hex}.tmp")
    try:
        shutil.move(staged, draft)
        shutil.rmtree(target, ignore_errors=True)
        draft.rename(target)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def finished_fingerprint(folder: str) -> str | None:
    """The fingerprint of the run that a model's folder came out of; None where none is finished."""
    path = storage.join(folder, MANIFEST)
    if not storage.exists(path):
        return None
    return str(json.loads(storage.read_bytes(path))["fingerprint"])


def set_aside(output: str, folder: str, fingerprint: str) -> None:
    """Move a model that other settings made to `superseded/`."""
    before = finished_fingerprint(folder)
    if before and before != fingerprint:
        aside = storage.join(output, "superseded", f"model-{before}")
        storage.delete_folder(aside)
        storage.move_folder(folder, aside, MANIFEST)


def card_of(config: RunConfig, revision: str, train: dict[str, Any], validation: dict[str, Any]) -> str:
    """The model card: what it is, what it was trained on and how, and whose licences apply."""
    training = config.training
    corpora = "\n".join(f"- `{one.corpus}`: {_named(one.source)}" for one in config.instructions) or "- none named"
    told = training.model_dump(exclude={"data", "base_model"})
    settings = "\n".join(f"| {name} | `{value}` |" for name, value in told.items())
    return f"""---
library_name: transformers
pipeline_tag: text-generation
base_model: {_name(training.base_model).partition("@")[0]}
tags: [role-playing, character]
---

# A role-playing model

It plays a character that the system prompt describes: a `# Persona` block, a `# Character Profile` block, and
the request to stay in character.

## Data

{train["ok"]:,} dialogues ({train["tokens"]:,} tokens, {train["learned_tokens"]:,} of them learned) in
{train["sequences"]:,} packed sequences; {validation["ok"]:,} dialogues of other characters for validation.
The engine `{config.engine.kind}` with the model {_named(config.engine.model)} wrote them
({", ".join(config.dialogues.strategies)}), for personas of {_named(config.personas.source)} and instructions of

{corpora}

## Training

Supervised fine-tuning of {_named(training.base_model)} (revision `{revision}`), loss on the assistant's tokens alone.

| setting | value |
| --- | --- |
{settings}

## Licence

The weights are subject to the licence of {_named(training.base_model)}; what they learned is subject to the
licences of the personas and instructions named above, and to the terms of the model that wrote the dialogues.
Look them up before you hand this model on.
"""


def _named(source: str | Sequence[str]) -> str:
    return ", ".join(f"`{_name(one)}`" for one in ([source] if isinstance(source, str) else source))


def _name(source: str) -> str:
    """A file or model as a card may name it: a local path says nothing but its last part elsewhere."""
    if source == EMBEDDED:
        return "HuggingFaceTB/SmolLM2-135M-Instruct"
    return Path(source).name if source.startswith(("/", ".", "~")) else source

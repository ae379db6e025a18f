"""The model card and the Modelfile: how to use a model, what it was trained on and how, and which licenses apply."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from huggingface_hub import ModelCardData

from factory.config import EMBEDDED, TEMPLATE_NAMES, Lora, RunConfig, Training
from factory.inference import model_files
from factory.inference.prompts import load_prompt
from factory.run_output.licenses import License, license_of_model, public_name
from factory.storage import file_io
from factory.text.markdown_cells import load_template
from factory.training.data_origin import DataOrigin, data_origin
from factory.training.dialogue import tokenizer_for
from factory.training.ollama import build_modelfile, template_name
from factory.training.worker_setup import WorkerSetup

TEMPLATE = Path(__file__).parent / "model_card.md.jinja"
CARD, MODELFILE = "README.md", "Modelfile"
DATASET = "https://huggingface.co/datasets/"
NOT_SHOWN = {"data", "base_model", "device", "precision", "num_workers", "zero_stage", "lora", "epochs", "pool",
             "liger", "fused_loss"}  # fmt: skip
"""Settings that the card has in other words, as what they came to, or that no weight depends on."""
LORA_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
"""Those that vLLM takes as its maximum."""
LIBRARIES = ("torch", "deepspeed", "transformers", "peft", "ray")
PERSONA = "A retired lighthouse keeper from Brittany who mends clocks and distrusts anything that is never late."
PROFILE = """\
Name: Yann Le Goff
Age: 71
Gender: Male
Race: White
Birth Place: Ouessant, France
Appearance: Small and upright, with a white beard, a navy jersey worn thin at the elbows, and hands that smell of oil.
General Experience: He kept the light of Créac'h for thirty-one years, until it was automated. Since then he mends \
the clocks of the island in the old engine room, and writes down every ship that passes.
Personality: Dry, patient and exact. He answers a question with the weather first, and hides his kindness in advice."""


@dataclass(frozen=True)
class ChatUse:
    """What a user must know to talk to a model."""

    end_of_turn: str
    """The token that ends a turn."""
    template: str | None
    """Which of our own templates its own equals."""
    kwargs: Mapping[str, Any]
    """Variables of its chat template."""


def write_card(config: RunConfig, setup: WorkerSetup, manifest: Mapping[str, Any]) -> None:
    """Write the card of a model that is exported, and, where Ollama can take it, a Modelfile beside it.

    Args:
        config: of the run.
        setup: of the training that ended.
        manifest: that of its checkpoints.
    """
    training = setup.training
    tokenizer = tokenizer_for(setup.base_model, training)
    kwargs = tokenizer.server_settings.get("default_chat_template_kwargs", {})
    name = template_name(model_files.fetch(setup.base_model, weights=False), tokenizer)
    chat = ChatUse(tokenizer.end_of_turn_text, name, kwargs)
    origin = data_origin(config)
    packed = {"train": setup.train.manifest, "validation": setup.validation.manifest}
    files = {CARD: build_card(training, manifest, packed, origin, chat)}
    whole = _is_whole(training)
    if whole or not _trained_rows(manifest):  # Ollama has no adapters of embeddings
        base = None if whole else base_name(training.base_model)
        files[MODELFILE] = build_modelfile(
            chat.template, chat.end_of_turn, example_of(origin), training.sequence_length, base
        )
    for file, text in files.items():
        file_io.write_bytes(file_io.join(setup.model_folder, file), text.encode())


def build_card(
    training: Training,
    manifest: Mapping[str, Any],
    packed: Mapping[str, Mapping[str, Any]],
    origin: DataOrigin | None,
    chat: ChatUse,
) -> str:
    """Return the text of the model's README.

    Args:
        training: the settings, with the precision resolved.
        manifest: of the checkpoints, with what the training came to.
        packed: the manifests of the packed sequences, by split.
        origin: how the dialogues were generated; None if that is not known.
        chat: how to talk to the model.
    """
    prompt = (origin and origin.prompt) or load_prompt("training-system")
    settings = training.model_dump(exclude=NOT_SHOWN)
    if training.chat_template not in TEMPLATE_NAMES:
        settings["chat_template"] = training.chat_template.rpartition("/")[2]  # no path of the machine
    return load_template(TEMPLATE).render(
        front=_front_matter(training, origin),
        base=base_name(training.base_model),
        training=training,
        manifest=manifest,
        packed=packed,
        origin=origin,
        writer=origin and public_name(origin.model),
        chat=chat,
        keywords="".join(f", {name}={value!r}" for name, value in chat.kwargs.items()),
        prompt=prompt,
        system=example_of(origin),
        is_whole=_is_whole(training),
        rows=_trained_rows(manifest),
        lora_rank=next((rank for rank in LORA_RANKS if training.lora and rank >= training.lora.rank), LORA_RANKS[-1]),
        used=_used(training, manifest),
        settings=settings,
        licenses=_licenses(training.base_model, origin),
        version=version("opencharacter-factory"),
    )


def example_of(origin: DataOrigin | None) -> str:
    """Return the system message of an invented character, by the prompt of the training data."""
    prompt = (origin and origin.prompt) or load_prompt("training-system")
    return prompt.render(persona=PERSONA, profile=PROFILE)[0].content


def base_name(ref: str) -> str:
    """Return the name of the base model for an exported folder: of a local path the last part alone."""
    return ref if ref.startswith(file_io.BUCKETS) else public_name(ref)


def _trained_rows(manifest: Mapping[str, Any]) -> list[str]:
    """Return the tokens whose rows of the embeddings were trained beside adapters."""
    return list(manifest["trained_by"].get("trained_tokens") or ())


def _is_whole(training: Training) -> bool:
    return training.lora is None or training.lora.merge


def _front_matter(training: Training, origin: DataOrigin | None) -> str:
    # The library of the detector, which has the names and codes, takes a moment to import.
    from factory.text.language import language_codes

    ref = training.base_model
    on_hub = ref == EMBEDDED or not ref.startswith(("/", ".", "~", *file_io.BUCKETS))
    links = [part.license.link for part in origin.inputs if part.license] if origin else []
    datasets = [link.removeprefix(DATASET) for link in dict.fromkeys(links) if link.startswith(DATASET)]
    whole = _is_whole(training)
    return ModelCardData(
        language=(language_codes(origin.languages) if origin else None) or None,
        base_model=base_name(ref),  # the families of judges and candidates are found by it, too
        datasets=datasets or None,
        library_name="transformers" if whole else "peft",
        pipeline_tag="text-generation",
        tags=["role-playing", "character", "sft"],
        base_model_relation=("finetune" if whole else "adapter") if on_hub else None,
        **_hub_license(license_of_model(base_name(ref))),
    ).to_yaml()


def _hub_license(license: License | None) -> dict[str, Any]:
    """Return what the front matter says of the license of a base model, which its weights keep."""
    if license is None:
        return {"license": "unknown"}
    if license.hub == "other":
        name = re.sub(r"\W+", "-", license.license.casefold()).strip("-")
        return {"license": "other", "license_name": name, "license_link": license.link}
    return {"license": license.hub or license.license.casefold()}


def _used(training: Training, manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a training really had, by the words of the card."""
    ran, lora, versions = manifest["trained_by"], training.lora, manifest["versions"]
    method = "full fine-tuning"
    if lora:
        method = (
            f"{'QLoRA (nf4)' if lora.quantization else 'LoRA'}, rank {lora.rank}, alpha {lora.alpha}"
            f"{' (rsLoRA)' if lora.use_rslora else ''} on {_targets(lora)}, "
            f"{'merged' if lora.merge else 'adapters apart'}"
        )
    rows = {
        "embeddings that began at the mean": ran.get("initialized_tokens"),
        "embeddings trained beside the adapters": ran.get("trained_tokens"),
    }
    return {
        "method": method,
        **{what: ", ".join(f"`{token}`" for token in tokens) for what, tokens in rows.items() if tokens},
        "parameters": f"{ran['parameters']:,}",
        "precision": training.precision,
        "workers": ran["workers"],
        "ZeRO stage": ran["zero_stage"],
        "optimizer": ran["optimizer"],
        "Liger's kernels": "yes" if ran.get("liger") else "no",
        "loss in chunks of tokens": "yes" if ran.get("fused_loss") else "no",
        "steps": f"{manifest['steps']:,}" + _beside(manifest),
        "epochs": manifest["epochs"],
        "tokens": f"{manifest['tokens']:,}",
        "versions": ", ".join(f"{name} {versions[name]}" for name in LIBRARIES if name in versions),
    }


def _targets(lora: Lora) -> str:
    chosen = {"all-linear": "all linear layers", "attention": "the layers of attention"}
    targets = lora.target_modules
    return chosen[targets] if isinstance(targets, str) else ", ".join(targets)


def _beside(manifest: Mapping[str, Any]) -> str:
    """Return what a training did besides taking all of its steps, and exporting the last."""
    found = {
        "ended early": manifest.get("stopped_early"),
        f"{manifest.get('skipped_steps')} skipped for a gradient that is not finite": manifest.get("skipped_steps"),
        f"these weights are of step {manifest.get('exported_step')}": (
            manifest.get("exported_step", manifest["steps"]) != manifest["steps"]
        ),
    }
    return "".join(f"; {what}" for what, is_so in found.items() if is_so)


def _licenses(base_model: str, origin: DataOrigin | None) -> list[tuple[str, License | None, str]]:
    """Return what has a license, that license if it is known, and its requirements."""
    base = license_of_model(base_name(base_model))
    rows: list[tuple[str, License | None, str]] = [(f"base model `{base_name(base_model)}`", base, "see there")]
    if origin is None:
        return [*rows, ("the dialogues", None, "")]
    for part in origin.inputs:
        names = ", ".join(f"`{name}`" for name in part.files) + (f" and {part.more:,} more" if part.more else "")
        terms = part.license.terms if part.license else ""
        rows.append((f"{part.what}: {names}" if names else part.what, part.license, terms))
    writer = license_of_model(public_name(origin.model))
    return [*rows, (f"outputs of `{public_name(origin.model)}`", writer, writer.terms if writer else "")]

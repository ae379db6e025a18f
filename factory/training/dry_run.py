"""Checks before a training run, and its dry run."""

from importlib.util import find_spec
from typing import Any

from rich.table import Table as Grid

from factory.config import RunConfig, Training
from factory.errors import ConfigError, UnreachableError
from factory.extras import require_extra
from factory.inference import model_files
from factory.inference.model_files import whole_number
from factory.run_output import layout
from factory.runtime.progress import Progress
from factory.runtime.ray_session import on_gpu
from factory.storage import file_io
from factory.training.adapters import check_quantization
from factory.training.checkpointing import checkpoints
from factory.training.dialogue import check_template, count_segments, splits_turns, turn_tokens
from factory.training.kernels import no_fused_loss, uses_liger, wants_fused_loss
from factory.training.memory_check import check_memory
from factory.training.pack_step import curated_manifest, curated_table
from factory.training.trackers import PACKAGES
from factory.training.turn_tokens import no_room

TOKENS_PER_SEGMENT = 700
"""With a profile of 1.7 kB in front; packing counts tokens and segments exactly."""


def check(config: RunConfig) -> None:
    """Check the base model, its chat template and context window, and that there is training data.

    Raises:
        UserError: a check fails, and a run would too.
    """
    require_extra("training", "train", "torch", "deepspeed")
    for split in ("train", "validation"):
        curated_manifest(curated_table(config, split))
    model_files.locate(config.training.base_model)
    check_template(config.training)
    check_window(config.training)
    check_new_rows(config.training)
    check_attention(config.training)
    check_kernels(config.training)
    check_trackers(config.training)
    if config.training.accelerator_type:  # of others the memory is not known, so that none is refused
        check_memory(config.training, learned_share(config))


def learned_share(config: RunConfig) -> float | None:
    """Return the share of tokens that are learned; None before they are packed."""
    manifest = layout.PACKED.table(config.output, split="train").manifest() or {}
    return manifest["learned_tokens"] / manifest["tokens"] if manifest.get("tokens") else None


def check_kernels(training: Training) -> None:
    """Check that the kernels that the config names are installed, and are for the base model.

    Raises:
        ConfigError: they are not, or need a GPU.
    """
    gpu = on_gpu(training.device)
    if training.attention == "flash_attention_2" and not (gpu and find_spec("flash_attn")):
        raise ConfigError(
            "training.attention: flash_attention_2 needs GPUs and the package flash-attn; install it, or use sdpa"
        )
    check_quantization(training.lora)
    if training.liger:
        uses_liger(training, _model_type(training))


def describe_kernels(training: Training) -> str:
    """Return a line on the kernels that a training uses.

    Args:
        training: the settings, with resolved precision.

    Raises:
        ConfigError: it must use some that it cannot.
    """
    liger = "Liger's" if uses_liger(training, _model_type(training)) else "none of Liger's"
    return f"Kernels: attention {training.attention}, {liger}, loss {_describe_loss(training)}"


def _describe_loss(training: Training) -> str:
    from factory.training.memory_estimate import EstimateError, undivided_loss

    if not wants_fused_loss(training, on_gpu(training.device)):
        return "from all logits at once"
    try:
        why = undivided_loss(model_files.fetch(training.base_model, weights=False), training)
    except EstimateError:
        return "in chunks, if the output layer is a linear one"
    if why and training.fused_loss:
        raise no_fused_loss(why)
    return f"from all logits at once: {why}" if why else "in chunks of tokens"


def check_trackers(training: Training) -> None:
    """Check that the packages of the trackers are installed.

    Raises:
        ConfigError: one is not.
    """
    for name in training.trackers:
        if not find_spec(PACKAGES[name]):
            raise ConfigError(
                f"training.trackers: {name} needs the package {PACKAGES[name]}, which is not installed; install it, or "
                f"leave {name} out"
            )


def check_window(training: Training) -> None:
    """Check that a sequence fits the context window of the base model.

    Raises:
        ConfigError: a sequence is longer.
    """
    window = whole_number(_architecture(training).get("max_position_embeddings"))
    if window and training.sequence_length > window:
        raise ConfigError(
            f"training.sequence_length is {training.sequence_length}, the context window of {training.base_model!r} is "
            f"{window}; lower it"
        )


def check_new_rows(training: Training) -> None:
    """Check that adapters left apart need no embeddings that the base model lacks, and know the tokens they train.

    Raises:
        ConfigError: they need some, or the tokenizer lacks a token.
    """
    tokens, rows = turn_tokens(training.base_model, training), whole_number(_architecture(training).get("vocab_size"))
    if training.lora and not training.lora.merge and rows and rows < tokens.vocabulary:
        raise no_room(rows, tokens.vocabulary)


def check_attention(training: Training) -> None:
    """Check that the config's attention computes that of the base model.

    Raises:
        ConfigError: it computes another one.
    """
    model = _architecture(training)
    chunk = whole_number(model.get("attention_chunk_size"))
    if training.attention == "packed" and chunk and chunk < training.sequence_length:
        raise ConfigError(
            f"training.attention: packed has no chunks, which {training.base_model!r} attends within; use sdpa"
        )
    has_sinks = model.get("model_type") == "gpt_oss"
    is_capped = training.attention == "sdpa" and bool(model.get("attn_logit_softcapping"))
    if is_capped or (has_sinks and training.attention != "packed"):
        needs = "attention sinks" if has_sinks else "a soft cap"
        raise ConfigError(
            f"training.attention: {training.attention} is without {needs}, which {training.base_model!r} needs; "
            "use packed"
        )


def _model_type(training: Training) -> str:
    config = model_files.read_json(model_files.fetch(training.base_model, weights=False), "config.json")
    return str(config.get("model_type"))


def _architecture(training: Training) -> dict[str, Any]:
    """Return the base model's config.json; a model of several parts has the values of its text model a level deeper."""
    config = model_files.read_json(model_files.fetch(training.base_model, weights=False), "config.json")
    text = config.get("text_config")
    return config | text if isinstance(text, dict) else config


def plan(config: RunConfig, progress: Progress) -> None:
    """Run all checks of a run, and print what it would train on and how many steps it would take.

    Raises:
        UserError: a check fails, and a run would too.
    """
    from factory.training.model import (
        resolve_precision,  # torch takes seconds to import, and a check of a config needs none
    )

    training, notes, kernels, memory = resolve_precision(config.training), [], "", ""
    file_io.check_writable(config.output)
    model, is_split = f"{training.base_model} (not checked)", False
    try:
        located = model_files.locate(training.base_model)
        model = f"{located.ref} (revision {located.revision})"
        is_split = splits_turns(check_template(training))
        check_window(training)
        check_new_rows(training)
        check_attention(training)
        check_kernels(training)
        check_trackers(training)
        kernels = describe_kernels(training)
        memory = check_memory(config.training, learned_share(config))
    except UnreachableError as problem:
        notes.append(str(problem))
    grid = Grid(title="Plan", title_justify="left", box=None, padding=(0, 2, 0, 0))
    for column in ("split", "dialogues", "segments", "tokens, about", "sequences, about", "steps, about"):
        grid.add_column(column, justify="left" if column == "split" else "right")
    for split in ("train", "validation"):
        manifest = curated_manifest(curated_table(config, split))
        segments = count_segments(manifest, is_split)
        tokens = segments * TOKENS_PER_SEGMENT
        sequences = -(-tokens // training.sequence_length)
        steps = -(-sequences * training.epochs // training.global_batch_size)
        shown = f"{steps:,}" if split == "train" else ""
        grid.add_row(split, f"{manifest['ok']:,}", f"{segments:,}", f"{tokens:,}", f"{sequences:,}", shown)
    progress.show(grid)
    progress.print(f"Base model: {model}")
    progress.print(
        f"Workers: {training.num_workers}, ZeRO stage {training.zero_stage}, offload {training.offload}, "
        f"{'LoRA' if training.lora else 'full fine-tuning'}, {training.precision}"
    )
    for line in filter(None, (kernels, memory)):
        progress.print(line)
    found = checkpoints.newest(layout.CHECKPOINTS.table(config.output).path)
    progress.print(f"Checkpoint: step {found.step}" if found else "Checkpoint: none yet")
    progress.print(f"Output: {config.output} (can be written)")
    for note in notes:
        progress.print(f"Note: {note}")

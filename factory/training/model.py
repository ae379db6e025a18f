"""Base model loading, and the loss of a packed sequence."""

from typing import Any

import numpy as np
import torch
from torch import nn

from factory.config import Training
from factory.runtime.ray_session import fast_bf16, on_gpu
from factory.training import attention
from factory.training.adapters import quantized, with_adapters
from factory.training.fused_loss import OutputError, divide
from factory.training.kernels import liger_options, no_fused_loss, uses_liger, wants_fused_loss
from factory.training.packing import find_targets, position_ids
from factory.training.token_rows import prepare_for_chats, train_rows
from factory.training.turn_tokens import TurnTokens

DTYPES = {"bf16": torch.bfloat16, "fp32": torch.float32}


def resolve_precision(training: Training) -> Training:
    """Return the settings with `auto` precision resolved for this machine."""
    if training.precision != "auto":
        return training
    return training.model_copy(update={"precision": "bf16" if fast_bf16(on_gpu(training.device)) else "fp32"})


class PackedLoss(nn.Module):
    """A causal language model that returns the losses of a packed sequence.

    Logits are computed for learned tokens alone: the output layer of a small model is a fifth of it,
    and with a vocabulary of 128,000 the logits of 4,096 tokens take 1 GB. A fused loss has those of a chunk at once.
    """

    def __init__(self, model: Any, fused: bool = False) -> None:
        """Take a model.

        Args:
            model: a causal language model.
            fused: compute the loss in chunks of tokens.

        Raises:
            OutputError: its output layer cannot be divided for that.
        """
        super().__init__()
        self.model = model
        self.fused = divide(model) if fused else None

    def forward(
        self,
        input_ids: torch.Tensor,
        positions: torch.Tensor,
        boundaries: torch.Tensor,
        max_length: int,
        target_positions: torch.Tensor,
        labels: torch.Tensor,
        predicts: bool = False,
    ) -> torch.Tensor:
        """Return the loss of each learned token.

        Args:
            input_ids: int64 of shape (1, tokens).
            positions: int64 of shape (1, tokens); they restart with each segment, and attention does not cross
                segments (transformers reads that from them, `packed` from `boundaries`).
            boundaries: int32 of shape (segments + 1,): the start of each segment, and the end of the last.
            max_length: tokens of the longest segment.
            target_positions: int64 of shape (learned,), the positions whose next token is learned.
            labels: int64 of shape (learned,), those tokens.
            predicts: return the most likely tokens there instead, int64 of shape (learned,).

        Returns:
            float32 of shape (learned,): cross-entropy in nats.
        """
        inputs = {
            "input_ids": input_ids, "position_ids": positions, "use_cache": False, "cu_seq_lens_q": boundaries,
            "cu_seq_lens_k": boundaries, "max_length_q": max_length, "max_length_k": max_length,
        }  # fmt: skip
        if self.fused and not predicts:
            return self.fused.losses(target_positions, labels, **inputs)
        out = self.model(**inputs, logits_to_keep=target_positions)
        if predicts:
            return torch.argmax(out.logits[0], dim=-1)
        return nn.functional.cross_entropy(out.logits[0].float(), labels, reduction="none")


def packed_loss(model: Any, training: Training) -> PackedLoss:
    """Return a model with its loss, in chunks where the settings and its output layer allow it.

    Raises:
        ConfigError: it must be in chunks, and cannot.
    """
    try:
        return PackedLoss(model, wants_fused_loss(training, on_gpu(training.device)))
    except OutputError as problem:
        if training.fused_loss:
            raise no_fused_loss(str(problem)) from None
        return PackedLoss(model)


def build_batch(row: dict[str, Any], device: torch.device) -> tuple[dict[str, Any], np.ndarray]:
    """Return the inputs of `PackedLoss` for a packed sequence, and the segment of each learned token."""
    ids = np.asarray(row["input_ids"], np.int64)
    target_positions, segment = find_targets(ids, np.asarray(row["loss_mask"], bool), row["lengths"])
    arrays = {
        "input_ids": ids[None],
        "positions": position_ids(row["lengths"])[None],
        "boundaries": np.cumsum([0, *row["lengths"]], dtype=np.int32),
        "target_positions": target_positions,
        "labels": ids[target_positions + 1],
    }
    tensors = {name: torch.from_numpy(array).to(device) for name, array in arrays.items()}
    return {**tensors, "max_length": max(row["lengths"])}, segment


FILLER: dict[str, Any] = {"input_ids": [0, 0], "loss_mask": [False, True], "lengths": [2], "dialogue_ids": [""]}
"""What a worker computes if the last batch has no sequence for it; its loss is not counted."""


def load_model(folder: str, training: Training, seed: int) -> Any:
    """Return the base model on the CPU, with the adapters and kernels of a config with resolved precision."""
    return load_for_chats(folder, training, seed, None)[0]


def load_for_chats(
    folder: str, training: Training, seed: int, tokens: TurnTokens | None
) -> tuple[Any, dict[str, list[int]]]:
    """Load the base model, and prepare the rows of its embeddings that it lacks or has not trained.

    Args:
        folder: of the base model.
        training: the settings, with resolved precision.
        seed: of the adapters.
        tokens: those of the chat template; None leaves the embeddings as they are.

    Returns:
        The model as `load_model` returns it, and the tokens whose rows are `initialized`, and those `trained` beside
        adapters.

    Raises:
        ConfigError: adapters left apart cannot hold new rows.
    """
    from transformers import AutoModelForCausalLM

    attention.register()
    model = AutoModelForCausalLM.from_pretrained(
        folder,
        dtype=DTYPES[training.precision],
        attn_implementation=training.attention,
        trust_remote_code=False,
        **quantized(training, DTYPES[training.precision]),
    )
    rows = prepare_for_chats(model, training, tokens) if tokens else {}
    if training.gradient_checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    if uses_liger(training, model.config.model_type):
        from liger_kernel.transformers import _apply_liger_kernel_to_instance

        _apply_liger_kernel_to_instance(model=model, **liger_options(model.config))
    if training.lora:
        torch.manual_seed(seed)
        model = with_adapters(model, training.lora)
        if rows.get("trained"):
            train_rows(model, rows["trained"])
        if training.gradient_checkpointing:
            model.enable_input_require_grads()
    # It is loaded in eval mode: without dropout, and without gradient checkpointing.
    return model.train(), rows

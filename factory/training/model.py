"""Base model loading, and the loss of a packed sequence."""

from typing import Any

import numpy as np
import torch
from torch import nn

from factory.config import Lora, Training
from factory.runtime.ray_session import fast_bf16, on_gpu
from factory.training import attention
from factory.training.packing import find_targets, position_ids

DTYPES = {"bf16": torch.bfloat16, "fp32": torch.float32}


def resolve_precision(training: Training) -> Training:
    """Return the settings with `auto` precision resolved for this machine."""
    if training.precision != "auto":
        return training
    return training.model_copy(update={"precision": "bf16" if fast_bf16(on_gpu(training.device)) else "fp32"})


class PackedLoss(nn.Module):
    """A causal language model that returns the losses of a packed sequence.

    Logits are computed for learned tokens alone: the output layer of a small model is a fifth of it,
    and with a vocabulary of 128,000 the logits of 4,096 tokens take 1 GB.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

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
        out = self.model(
            input_ids=input_ids, position_ids=positions, use_cache=False, logits_to_keep=target_positions,
            cu_seq_lens_q=boundaries, cu_seq_lens_k=boundaries, max_length_q=max_length, max_length_k=max_length,
        )  # fmt: skip
        if predicts:
            return torch.argmax(out.logits[0], dim=-1)
        return nn.functional.cross_entropy(out.logits[0].float(), labels, reduction="none")


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
    from transformers import AutoModelForCausalLM

    attention.register()
    model = AutoModelForCausalLM.from_pretrained(
        folder,
        dtype=DTYPES[training.precision],
        attn_implementation=training.attention,
        trust_remote_code=False,
    )
    if training.gradient_checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    if training.liger:
        from liger_kernel.transformers import _apply_liger_kernel_to_instance

        # We compute the loss, over learned tokens alone.
        _apply_liger_kernel_to_instance(model=model, fused_linear_cross_entropy=False, cross_entropy=False)
    if training.lora:
        torch.manual_seed(seed)
        model = with_adapters(model, training.lora)
        if training.gradient_checkpointing:
            model.enable_input_require_grads()
    return model.train()  # it is loaded in eval mode: without dropout, and without gradient checkpointing


def with_adapters(model: Any, lora: Lora) -> Any:
    """Return the model with low-rank adapters on all linear layers, which alone are trained."""
    from peft import LoraConfig, get_peft_model

    return get_peft_model(
        model,
        LoraConfig(
            task_type="CAUSAL_LM",
            r=lora.rank,
            lora_alpha=lora.alpha,
            lora_dropout=lora.dropout,
            target_modules="all-linear",
        ),
    )

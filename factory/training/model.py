"""A base model made ready for training, and the loss of a packed sequence."""

from typing import Any

import numpy as np
import torch
from torch import nn

from factory.config import Lora, Training
from factory.runtime.ray_session import fast_bf16, on_gpu
from factory.training import attention
from factory.training.packing import position_ids, targets

DTYPES = {"bf16": torch.bfloat16, "fp32": torch.float32}


def resolve_precision(training: Training) -> Training:
    """The settings with the precision that `auto` means on this machine."""
    if training.precision != "auto":
        return training
    return training.model_copy(update={"precision": "bf16" if fast_bf16(on_gpu(training.device)) else "fp32"})


class PackedLoss(nn.Module):
    """A causal language model that is called for the losses of a packed sequence.

    Logits are computed for learned tokens alone: the output layer of a small model is a fifth of it,
    and a vocabulary of 128,000 makes 1 GB of logits of 4,096 tokens.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(
        self,
        input_ids: torch.Tensor,
        positions: torch.Tensor,
        borders: torch.Tensor,
        longest: int,
        places: torch.Tensor,
        labels: torch.Tensor,
    ) -> torch.Tensor:
        """The loss of each learned token.

        Args:
            input_ids: int64 of shape (1, tokens).
            positions: int64 of shape (1, tokens); where they start again, a new dialogue begins, and
                attention does not look across (transformers reads that from them, `packed` from `borders`).
            borders: int32 of shape (dialogues + 1,), where each dialogue begins, and the end of the last.
            longest: tokens of the longest dialogue.
            places: int64 of shape (learned,), the positions whose next token is learned.
            labels: int64 of shape (learned,), those tokens.

        Returns:
            float32 of shape (learned,): cross-entropy in nats.
        """
        out = self.model(
            input_ids=input_ids, position_ids=positions, use_cache=False, logits_to_keep=places,
            cu_seq_lens_q=borders, cu_seq_lens_k=borders, max_length_q=longest, max_length_k=longest,
        )  # fmt: skip
        return nn.functional.cross_entropy(out.logits[0].float(), labels, reduction="none")


def batch_of(row: dict[str, Any], device: torch.device) -> tuple[dict[str, Any], np.ndarray]:
    """What `PackedLoss` takes of a packed sequence, and each learned token's dialogue in it."""
    ids = np.asarray(row["input_ids"], np.int64)
    places, dialogue = targets(ids, np.asarray(row["loss_mask"], bool), row["lengths"])
    arrays = {
        "input_ids": ids[None],
        "positions": position_ids(row["lengths"])[None],
        "borders": np.cumsum([0, *row["lengths"]], dtype=np.int32),
        "places": places,
        "labels": ids[places + 1],
    }
    tensors = {name: torch.from_numpy(array).to(device) for name, array in arrays.items()}
    return {**tensors, "longest": max(row["lengths"])}, dialogue


FILLER: dict[str, Any] = {"input_ids": [0, 0], "loss_mask": [False, True], "lengths": [2], "dialogue_ids": [""]}
"""What a worker computes where the last batch has no sequence for it: its loss counts nothing."""


def load_model(folder: str, training: Training, seed: int) -> Any:
    """The base model with what the config, `settled`, adds to it, on the CPU."""
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

        # The loss is ours, over learned tokens alone.
        _apply_liger_kernel_to_instance(model=model, fused_linear_cross_entropy=False, cross_entropy=False)
    if training.lora:
        torch.manual_seed(seed)
        model = with_adapters(model, training.lora)
        if training.gradient_checkpointing:
            model.enable_input_require_grads()
    return model.train()  # it comes in eval mode: without dropout, and without gradient checkpointing


def with_adapters(model: Any, lora: Lora) -> Any:
    """The model with low-rank adapters on all its linear layers, which alone are trained."""
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

"""Supervised fine-tuning."""

from typing import Literal, Self

from pydantic import Field, model_validator

from factory.config.engines import EMBEDDED
from factory.config.paths import ModelRef, OutputPath
from factory.config.sections import Name, Section


class Lora(Section):
    """Low-rank adapters in place of full fine-tuning."""

    rank: int = Field(16, ge=1)
    alpha: int = Field(32, ge=1)
    """Adapters are scaled by alpha / rank."""
    dropout: float = Field(0, ge=0, lt=1)
    merge: bool = True
    """Fold the adapters into the exported weights; otherwise `model/` holds the adapters alone."""


class Training(Section):
    """Supervised fine-tuning. The paper does not publish epochs, batch size and sequence length."""

    data: OutputPath | None = None
    """The output of the run whose curated dialogues are trained on; by default this run's own."""
    base_model: ModelRef = EMBEDDED
    chat_template: Literal["tokenizer", "llama-3", "chatml"] = "tokenizer"
    """`own` is the tokenizer's; a Base model has none and needs that of its family."""
    lora: Lora | None = None
    """Without it all weights are trained."""
    device: Literal["auto", "cpu", "gpu"] = "auto"
    """`auto`: what the installed torch was built for."""
    num_workers: int = Field(1, ge=1)
    """Training processes: one a GPU, or a share of the CPU's cores."""
    pool: Name | None = None
    """Train on nodes with this value of the label `pool` alone, as `cluster/` gives it to them; null: on any."""
    zero_stage: Literal[1, 2, 3] = 3
    """What DeepSpeed parts among the workers: optimizer state; gradients too; parameters too."""
    offload: Literal["none", "optimizer", "all"] = "none"
    """What waits in CPU memory: the optimizer's state, or the parameters too (with `zero_stage: 3`)."""
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    """`auto`: bf16 on GPUs and on CPUs that are fast with it, fp32 on others."""
    gradient_checkpointing: bool = False
    """Compute activations again in the backward pass: less memory, a third more time."""
    attention: Literal["packed", "sdpa", "flash_attention_2", "flex_attention"] = "packed"
    """`packed`: each dialogue of a sequence by itself, with torch's FlashAttention on GPUs; the others are
    transformers' own."""
    liger: bool = False
    """Liger's fused kernels, on GPUs."""
    sequence_length: int = Field(4096, ge=16)
    """Tokens of a packed sequence, and the most that a dialogue may have."""
    overlong: Literal["truncate", "reject"] = "truncate"
    """What happens to longer dialogues: they end after the last whole turn that fits, or are rejected."""
    epochs: int = Field(3, ge=1)
    global_batch_size: int = Field(64, ge=1)
    """Packed sequences of one optimizer step, over all workers."""
    learning_rate: float = Field(1e-5, gt=0)
    final_learning_rate: float = Field(1e-6, ge=0)
    """The learning rate falls linearly from the first step's to the last's."""
    betas: tuple[float, float] = (0.9, 0.95)
    weight_decay: float = Field(0, ge=0)
    max_grad_norm: float = Field(1.0, gt=0)
    eval_steps: int = Field(50, ge=1)
    """Steps between two validations; there is one before and one after training besides."""
    validation_sequences: int = Field(512, ge=1)
    """The most packed sequences that a validation reads."""
    save_steps: int = Field(100, ge=1)
    """Steps between two checkpoints."""
    save_total_limit: int = Field(2, ge=1)
    """How many of the newest stay; the one with the lowest validation loss stays besides."""
    max_failures: int = Field(3, ge=0)
    """How often a group of workers that died is started again from the last checkpoint."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.global_batch_size % self.num_workers:
            raise ValueError(
                f"global_batch_size ({self.global_batch_size}) must be a multiple of num_workers ({self.num_workers})"
            )
        if self.offload == "all" and self.zero_stage != 3:
            raise ValueError(f"offload: all needs zero_stage: 3, not {self.zero_stage}")
        if self.final_learning_rate > self.learning_rate:
            raise ValueError("final_learning_rate must not be above learning_rate")
        return self

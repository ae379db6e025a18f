"""Supervised fine-tuning."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from factory.config.engines import (
    EMBEDDED,
    AcceleratorType,
    ChatTemplateKwargs,
    check_accelerator,
    without_secrets,
)
from factory.config.paths import ModelRef, OutputPath, Role, checked_path
from factory.config.sections import Name, Section, each_once

OWNED_KEYS = {
    "train_batch_size": "training.global_batch_size",
    "train_micro_batch_size_per_gpu": "training.global_batch_size",
    "gradient_accumulation_steps": "training.global_batch_size",
    "gradient_clipping": "training.max_grad_norm",
    "zero_optimization.stage": "training.zero_stage",
    "zero_optimization.offload_optimizer.device": "training.offload",
    "zero_optimization.offload_param.device": "training.offload",
    **dict.fromkeys(("amp", "bf16", "bfloat16", "fp16", "torch_autocast"), "training.precision"),
    "optimizer": "training.learning_rate, betas and weight_decay",
    "scheduler": "training.lr_scheduler_type and warmup_ratio",
    "checkpoint": "",
}
"""Keys of DeepSpeed's config that the factory sets itself, and the settings that they follow from."""


def _paths(content: Mapping[str, Any], parent: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in content.items():
        yield f"{parent}{key}", value
        if isinstance(value, Mapping):
            yield from _paths(value, f"{parent}{key}.")


def _for_deepspeed(content: dict[str, Any]) -> dict[str, Any]:
    for path, value in _paths(content):
        if not isinstance(value, Mapping) and any(owned.startswith(f"{path}.") for owned in OWNED_KEYS):
            raise ValueError(f"deepspeed.{path} is {value!r}; give the keys to change in it")
        if path in OWNED_KEYS:
            instead = f"; set {OWNED_KEYS[path]} instead" if OWNED_KEYS[path] else ""
            raise ValueError(f"deepspeed has {path}, which the factory sets itself; leave it out{instead}")
    return content


Tracker = Literal["tensorboard", "wandb", "trackio", "mlflow"]


LoraTargets = Literal["all-linear", "attention"]


class Lora(Section):
    """Low-rank adapters in place of full fine-tuning."""

    rank: int = Field(16, ge=1)
    alpha: int = Field(32, ge=1)
    """Adapters are scaled by alpha / rank."""
    use_rslora: bool = False
    """Scale by alpha / sqrt(rank) instead, so that a high rank learns as fast as a low one (rsLoRA)."""
    dropout: float = Field(0, ge=0, lt=1)
    target_modules: LoraTargets | Annotated[tuple[str, ...], Field(min_length=1)] = "all-linear"
    """Layers that get adapters: `all-linear`, all but the output layer; `attention`, those of attention alone; or a
    list of names, such as [q_proj, v_proj]."""
    trainable_tokens: Literal["untrained"] | tuple[str, ...] = "untrained"
    """Tokens whose rows of the embeddings are trained too: `untrained`, those that the chat template writes and the
    base model has not trained, such as `<|eot_id|>` of a LLaMA-3 Base; or a list of tokens, which may be empty."""
    quantization: Literal["nf4"] | None = None
    """`nf4`: the base model's linear layers in 4 bits (QLoRA), with the package bitsandbytes, `zero_stage` 1 or 2,
    `offload: none` and `merge: false`."""
    merge: bool = True
    """Fold the adapters into the exported weights; otherwise `model/` holds the adapters alone."""

    @model_validator(mode="after")
    def _stays_apart(self) -> Self:
        if self.quantization and self.merge:
            raise ValueError(
                f"quantization: {self.quantization} needs merge: false, as the adapters were learned beside weights of "
                "4 bits, which no folder holds; evaluation, the playground and push-model take adapters as they are"
            )
        return self


TEMPLATE_NAMES = ("tokenizer", "llama-3", "chatml")
"""Values of `training.chat_template` that are no file."""


def _template(value: str) -> str:
    if value not in TEMPLATE_NAMES and not value.endswith(".jinja"):
        raise ValueError(f"give {', '.join(TEMPLATE_NAMES)} or the path of a Jinja file, whose name ends with .jinja")
    return value if value in TEMPLATE_NAMES else checked_path(value)


TUNING_RATE, ADAPTER_RATE = 1e-5, 2e-4
"""Adapters, which start at nothing, need a rate ten times that of whole weights and more."""


def _default_rate(given: dict[str, Any]) -> float:
    return ADAPTER_RATE if given.get("lora") else TUNING_RATE


def _default_final_rate(given: dict[str, Any]) -> float:
    return given.get("learning_rate", ADAPTER_RATE) / 10 if given.get("lora") else 1e-6


class Training(Section):
    """Supervised fine-tuning. The paper does not publish epochs, batch size and sequence length."""

    data: OutputPath | None = None
    """Output of the run whose curated dialogues are the training data; by default this run's own."""
    base_model: ModelRef = EMBEDDED
    chat_template: Annotated[str, AfterValidator(_template), Role("template")] = "tokenizer"
    """`tokenizer`: the tokenizer's own; a base model has none and needs that of its family. `llama-3`; `chatml`, which
    adds `<|im_start|>` and `<|im_end|>` to a vocabulary without them; or the path of a Jinja file."""
    chat_template_kwargs: ChatTemplateKwargs = Field(default_factory=dict)
    """Variables of the chat template, as those of an engine of kind vllm; candidates need the same ones."""
    learn_thoughts: bool = False
    """Learn the thoughts of `generate` dialogues too, which no rule of curation has read. For a template that names
    `enable_thinking`, set it to true in `chat_template_kwargs`, also of the candidate."""
    lora: Lora | None = None
    """Without it, full fine-tuning."""
    initialize_untrained_rows: bool | None = None
    """Start the rows of the embeddings of tokens that the chat template writes and the base model has not trained at
    the mean of the trained ones; those that `chatml` adds start there in any case. null: with `lora` alone."""
    device: Literal["auto", "cpu", "gpu"] = "auto"
    """`auto`: that of the installed torch build."""
    num_workers: int = Field(1, ge=1)
    """Training processes: one per GPU, or with an equal part of the CPU's cores."""
    pool: Name | None = None
    """Train on nodes with this value of the label `pool` alone, which `cluster/` sets; null: on any."""
    accelerator_type: AcceleratorType | None = None
    """The kind of GPU, by Ray's name for it, such as H100: workers run only on nodes that have it, and a training that
    does not fit its memory is refused. null: any."""
    zero_stage: Literal[1, 2, 3] = 3
    """What DeepSpeed shards over the workers: 1, optimizer state; 2, gradients too; 3, parameters too."""
    offload: Literal["none", "optimizer", "all"] = "none"
    """What is offloaded to CPU memory: optimizer state, or parameters too (with `zero_stage: 3`)."""
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    """`auto`: bf16 on GPUs and on CPUs with fast bf16, else fp32."""
    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass: less memory, a third more time."""
    attention: Literal["packed", "sdpa", "flash_attention_2", "flex_attention"] = "packed"
    """`packed`: within each dialogue of a sequence, with torch's FlashAttention on GPUs, and with a model's sliding
    window, soft cap or attention sinks; the others are those of transformers."""
    liger: bool | None = None
    """Liger's fused kernels. null: on GPUs, where the package liger-kernel is installed and has them for the base
    model's architecture; true: needs all of that."""
    fused_loss: bool | None = None
    """Compute the loss in chunks of 512 tokens, so that the logits of all tokens never exist at once: with a vocabulary
    of 128,000 they take gigabytes. null: on GPUs (a CPU takes longer for the same loss), where the base model's output
    layer is a linear one; true: needs that."""
    deepspeed: Annotated[dict[str, Any], AfterValidator(without_secrets), AfterValidator(_for_deepspeed)] = Field(
        default_factory=dict
    )
    """More of DeepSpeed's config, merged last, such as `{zero_optimization: {overlap_comm: false}}`; batch sizes, ZeRO
    stage, precision, optimizer and clipping have settings of their own."""
    sequence_length: int = Field(4096, ge=16)
    """Tokens of a packed sequence, and the maximum of a dialogue's sequence."""
    overlong: Literal["truncate", "reject"] = "truncate"
    """Longer dialogues are truncated after the last turn that fits, or rejected. Where the chat template writes past
    turns in another way, such as without thoughts, a dialogue is several sequences, one for each reply."""
    epochs: int = Field(3, ge=1)
    global_batch_size: int = Field(64, ge=1)
    """Packed sequences of one optimizer step, over all workers."""
    learning_rate: float = Field(default_factory=_default_rate, gt=0)
    """1e-5, with `lora` 2e-4."""
    final_learning_rate: float = Field(default_factory=_default_final_rate, ge=0)
    """The learning rate decays from `learning_rate` to this; 1e-6, with `lora` a tenth of `learning_rate`."""
    lr_scheduler_type: Literal["linear", "cosine", "constant"] = "linear"
    """How it decays; `constant`: not at all."""
    warmup_ratio: float = Field(0, ge=0, lt=1)
    """Part of the steps in which the learning rate first rises linearly; 0, as in the paper, for none."""
    betas: tuple[float, float] = (0.9, 0.95)
    weight_decay: float = Field(0, ge=0)
    """Of matrices; norms, biases and embeddings have none."""
    max_grad_norm: float = Field(1.0, gt=0)
    """Longer gradients are clipped to this norm."""
    max_skipped_steps: int = Field(10, ge=1)
    """Training ends after this number of steps in a row whose gradient was not finite, which are skipped, or whose
    loss was worse than that of a uniform guess."""
    eval_steps: int = Field(50, ge=1)
    """Steps between validations; one before and one after training are added."""
    validation_sequences: int = Field(512, ge=1)
    """Maximum number of packed sequences per validation."""
    sample_replies: int | None = Field(None, ge=0, le=16)
    """Held-out characters whose reply, of at most 48 tokens, is shown with each validation. null: 4 on GPUs, and none
    on CPUs, where they take minutes."""
    save_steps: int = Field(100, ge=1)
    """Steps between checkpoints."""
    save_minutes: float | None = Field(30, gt=0)
    """A checkpoint is also due this long after the last one, between two steps, without a validation. null: never."""
    save_total_limit: int = Field(2, ge=1)
    """Number of newest checkpoints to keep, besides the one with the lowest validation loss and the one to export. The
    two newest can be resumed from; of the others the weights are kept."""
    early_stopping_patience: int | None = Field(None, ge=1)
    """Training ends after this number of validations in a row without a new lowest loss. null: it never ends early."""
    export_checkpoint: Annotated[str, Field(pattern=r"^(last|best|step-[1-9][0-9]{0,8})$")] = "last"
    """Whose weights `model/` gets: those of the `last` checkpoint, of the `best` one, with the lowest validation loss,
    or of a step, such as `step-120`, which is then saved and kept."""
    trackers: Annotated[tuple[Tracker, ...], AfterValidator(each_once)] = ("tensorboard",)
    """Where metrics go beside `checkpoints/metrics.jsonl`: `tensorboard` (in `checkpoints/`), `wandb`, `trackio` and
    `mlflow`, whose packages must be installed; accounts and servers come from their environment variables."""
    max_failures: int = Field(3, ge=0)
    """How often a failed group of workers is restarted from the last checkpoint."""

    @property
    def export_step(self) -> int | None:
        """The step that `export_checkpoint` names; None for `last` and `best`."""
        name, _, step = self.export_checkpoint.partition("-")
        return int(step) if name == "step" else None

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.global_batch_size % self.num_workers:
            raise ValueError(
                f"global_batch_size ({self.global_batch_size}) must be a multiple of num_workers ({self.num_workers})"
            )
        check_accelerator(self.accelerator_type, self.device)
        if self.offload == "all" and self.zero_stage != 3:
            raise ValueError(f"offload: all needs zero_stage: 3, not {self.zero_stage}")
        self._check_quantization()
        if self.final_learning_rate > self.learning_rate:
            raise ValueError("final_learning_rate must not be above learning_rate")
        return self

    def _check_quantization(self) -> None:
        if not (self.lora and self.lora.quantization):
            return
        if self.zero_stage == 3:
            raise ValueError(
                f"lora.quantization: {self.lora.quantization} needs zero_stage: 1 or 2, as stage 3 cannot shard "
                "weights of 4 bits"
            )
        if self.offload != "none":
            raise ValueError(f"lora.quantization: {self.lora.quantization} needs offload: none, not {self.offload}")

"""The memory that a training process needs at its peak, before anything is loaded.

The base model is built on torch's device `meta`, which has shapes and no memory, so any architecture is counted as it
is: its parameters, and what its forward pass keeps for the backward pass.
"""

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import torch

from factory.config import Lora, Training
from factory.errors import ConfigError
from factory.training.adapters import QUANTIZED_BYTES, quantized_weights, with_adapters
from factory.training.deepspeed_engine import CPU_BUCKET
from factory.training.fused_loss import CHUNK_TOKENS, OutputError, divide
from factory.training.kernels import wants_fused_loss
from factory.training.model import DTYPES, PackedLoss

GPU_BUCKET = 500_000_000
"""Gradients that are reduced at once, and parameters that are gathered at once: DeepSpeed's defaults."""
LIVE_PARAMETERS = 1_000_000_000
"""Gathered parameters that ZeRO-3 keeps at once, and those of a part of its step: DeepSpeed's defaults."""
GPU_RUNTIME_BYTES = 2 << 30
"""CUDA's and NCCL's own memory, and what the allocator cannot use."""
LEARNED_SHARE = 0.5
"""Of the tokens, before they are packed; profiles and questions are not learned."""


def undivided_loss(folder: str, training: Training) -> str:
    """Return why a training's loss cannot be computed in chunks; empty if it can.

    Raises:
        EstimateError: the model's forward pass needs values.
    """
    return _shape(folder, training).undivided


class EstimateError(Exception):
    """An architecture's forward pass cannot run on shapes alone."""


@dataclass(frozen=True)
class MemoryEstimate:
    """Bytes of one process at its peak."""

    states: int
    """Weights, gradients, master weights and moments that are not offloaded."""
    activations: int
    """What the forward pass of a packed sequence keeps for the backward pass."""
    logits: int
    """Of the learned tokens, or of a chunk of them, with their gradient."""
    buffers: int
    """Gathered parameters and gradients that are being reduced."""
    step: int
    """Copies of gradients in the optimizer's step, when activations and logits are gone."""
    runtime: int

    @property
    def total(self) -> int:
        """Bytes at the peak: of the backward pass, or of the optimizer's step."""
        return self.states + self.runtime + max(self.activations + self.logits + self.buffers, self.step)


@dataclass(frozen=True)
class _Shape:
    parameters: int
    trained: tuple[int, ...]
    """Of each tensor that is trained."""
    activations: int
    """Bytes that a forward pass keeps, without recomputation."""
    layers: int
    hidden: int
    vocabulary: int
    quantized: int
    """Parameters that are loaded in 4 bits."""
    undivided: str
    """Why the loss cannot be computed in chunks; empty if it can."""


def estimate_memory(folder: str, training: Training, on_gpu: bool, learned: float = LEARNED_SHARE) -> MemoryEstimate:
    """Estimate the memory of a training process.

    Args:
        folder: of the base model; only its small files are read.
        training: the settings, with resolved precision.
        on_gpu: whether the workers run on GPUs.
        learned: share of the tokens that are learned.

    Raises:
        EstimateError: the model's forward pass needs values.
        ConfigError: the config's adapters are of layers that it does not have.
    """
    shape = _shape(folder, training)
    size, workers, stage = DTYPES[training.precision].itemsize, training.num_workers, training.zero_stage
    learned_tokens = int(learned * training.sequence_length)
    if wants_fused_loss(training, on_gpu) and not shape.undivided:
        learned_tokens = min(learned_tokens, CHUNK_TOKENS)
    trained = sum(shape.trained)
    share = -(-trained // workers)
    weights = size * shape.parameters // (workers if stage == 3 else 1)
    weights -= int((size - QUANTIZED_BYTES) * shape.quantized)
    gradients = size * (share if stage > 1 else trained)
    optimizer = 12 * share  # float32: master weights and two moments
    states = gradients
    states += optimizer if training.offload == "none" else 0
    states += weights if training.offload != "all" else 0
    capacity = GPU_BUCKET if on_gpu else CPU_BUCKET
    bucket = size * min(capacity, trained)
    if on_gpu and stage < 3:
        bucket *= 2  # one is filled while the other is reduced: `overlap_comm`
    if stage > 1:  # the whole gradients of embeddings, which no bucket holds, are there until they are reduced
        bucket += size * sum(count for count in shape.trained if count > capacity)
    live = size * min(LIVE_PARAMETERS, shape.parameters) if stage == 3 and workers > 1 else 0
    # Gradients of the step: flat, and in float32.
    copied = min(share, LIVE_PARAMETERS) if stage == 3 else share
    step = copied * (4 + (size if size < 4 else 0)) if training.offload == "none" else 0
    return MemoryEstimate(
        states=states,
        activations=_activations(shape, training, size),
        logits=learned_tokens * shape.vocabulary * (4 + 4 + size),
        buffers=bucket + live,
        step=step,
        runtime=GPU_RUNTIME_BYTES if on_gpu else 0,
    )


def _shape(folder: str, training: Training) -> _Shape:
    try:
        return _measure(folder, training.lora, training.sequence_length, DTYPES[training.precision])
    except ConfigError:
        raise
    except Exception:  # torch multiplies by experts on `meta` in bfloat16 only
        try:
            half = _measure(folder, training.lora, training.sequence_length, torch.bfloat16)
        except Exception as problem:  # an architecture's own code, which may ask for values that are not there
            raise EstimateError(f"{type(problem).__name__}: {' '.join(str(problem).split())[:120]}") from None
        return replace(half, activations=half.activations * DTYPES[training.precision].itemsize // 2)


def _activations(shape: _Shape, training: Training, size: int) -> int:
    if not training.gradient_checkpointing:
        return shape.activations
    kept = size * training.sequence_length * shape.hidden
    return shape.layers * kept + shape.activations // max(1, shape.layers)


class _FlashAttention(torch.autograd.Function):
    """Keeps what FlashAttention keeps, and computes nothing."""

    @staticmethod
    def forward(ctx: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        out = query.new_empty(*query.shape[:-1], value.shape[-1])
        ctx.save_for_backward(query, key, value, out)
        return out

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        return gradient, None, None


def _shape_only(_module: Any, query: Any, key: Any, value: Any, _mask: Any, **_: Any) -> tuple[Any, None]:
    return _FlashAttention.apply(query, key, value).transpose(1, 2), None  # type: ignore[no-untyped-call]


@lru_cache(8)  # a dry run asks for the kernels, the memory, and what would fit
def _measure(folder: str, lora: Lora | None, tokens: int, dtype: torch.dtype) -> _Shape:
    from transformers import AttentionInterface, AutoConfig, AutoModelForCausalLM

    AttentionInterface.register("shape_only", _shape_only)
    config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    with torch.device("meta"):
        model: Any = AutoModelForCausalLM.from_config(
            config, dtype=dtype, attn_implementation="shape_only", trust_remote_code=False
        )
        quantized = quantized_weights(model) if lora and lora.quantization else 0
        if lora:
            model = with_adapters(model, lora)
        _fix_frequencies(model)
        kept = _kept_bytes(PackedLoss(model), tokens)
        undivided = _undivided(model)
    text = config.get_text_config()
    return _Shape(
        parameters=sum(p.numel() for p in model.parameters()),
        trained=tuple(p.numel() for p in model.parameters() if p.requires_grad),
        activations=kept,
        layers=text.num_hidden_layers,
        hidden=text.hidden_size,
        vocabulary=text.vocab_size,
        quantized=quantized,
        undivided=undivided,
    )


def _fix_frequencies(model: torch.nn.Module) -> None:
    """Leave out the choice of frequencies by the longest position (longrope, dynamic): `meta` has no values.

    It changes no shape.
    """
    module: Any
    for module in model.modules():
        kinds = getattr(module, "rope_type", None)
        if isinstance(kinds, dict):
            module.rope_type = dict.fromkeys(kinds, "default")
        elif isinstance(kinds, str):
            module.rope_type = "default"


def _undivided(model: Any) -> str:
    try:
        divide(model)
    except OutputError as problem:
        return str(problem)
    return ""


def _kept_bytes(module: PackedLoss, tokens: int) -> int:
    """Return the bytes that a forward pass keeps besides parameters and logits."""
    parameters = {parameter.untyped_storage()._cdata for parameter in module.parameters()}
    kept: dict[int, torch.UntypedStorage] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in parameters:
            kept[storage._cdata] = storage  # held, so that no other gets its number
        return tensor

    ids = torch.zeros(1, tokens, dtype=torch.long)
    one = torch.zeros(1, dtype=torch.long)
    boundaries = torch.tensor([0, tokens], dtype=torch.int32)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        module(ids, torch.arange(tokens)[None], boundaries, tokens, one, one)
    return sum(storage.nbytes() for storage in kept.values())

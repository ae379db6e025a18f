"""Whether a training fits its GPUs, and what would make it fit."""

import json
from collections.abc import Mapping
from typing import Any

from factory.config import Training
from factory.errors import ConfigError
from factory.inference import model_files
from factory.inference.engines.gpu_memory import MEMORY_GIB
from factory.runtime.ray_session import on_gpu

CHANGES: tuple[Mapping[str, Any], ...] = (
    {"gradient_checkpointing": True},
    {"zero_stage": 3},
    {"zero_stage": 3, "gradient_checkpointing": True},
    {"zero_stage": 3, "gradient_checkpointing": True, "offload": "optimizer"},
    {"zero_stage": 3, "gradient_checkpointing": True, "offload": "all"},
)
"""Settings that take less memory, the fastest first."""
QUANTIZED_CHANGES = CHANGES[:1]
"""Those for weights of 4 bits, which ZeRO-3 does not shard."""
COMFORTABLE = 0.95
"""The share of a GPU's memory that settings may need to be recommended."""


def check_memory(training: Training, learned: float | None = None) -> str:
    """Estimate the memory of a training process, and return it as a line.

    Args:
        training: the settings.
        learned: share of the tokens that are learned; None before they are packed.

    Raises:
        ConfigError: the GPUs of `training.accelerator_type` have less.
    """
    from factory.training.memory_estimate import LEARNED_SHARE, EstimateError, MemoryEstimate, estimate_memory
    from factory.training.model import resolve_precision

    kind = training.accelerator_type
    gpu = on_gpu(training.device) or kind is not None
    training = resolve_precision(training.model_copy(update={"device": "gpu" if gpu else "cpu"}))
    folder = model_files.fetch(training.base_model, weights=False)

    def estimate(**change: Any) -> MemoryEstimate:
        return estimate_memory(folder, training.model_copy(update=change), gpu, learned or LEARNED_SHARE)

    try:
        found = estimate()
    except EstimateError as problem:
        return f"Memory: not estimated, as the model cannot run without its weights ({problem})"
    parts = {name: getattr(found, name) for name in ("states", "activations", "logits", "buffers", "runtime")}
    shown = ", ".join(f"{name} {_gib(size)}" for name, size in parts.items() if size)
    whole = f"about {_gib(found.total)} GiB per {'GPU' if gpu else 'process'}"
    available = MEMORY_GIB.get(kind or "")
    if available and found.total > available * 2**30:
        changes = QUANTIZED_CHANGES if training.lora and training.lora.quantization else CHANGES
        fits = (one for one in changes if estimate(**one).total <= COMFORTABLE * available * 2**30)
        changed = {name: value for name, value in next(fits, {}).items() if value != getattr(training, name)}
        settings = ", ".join(f"{name}: {_shown(value)}" for name, value in changed.items())
        adapters = "with 4 bits (lora.quantization: nf4)" if training.lora else "alone (lora: {})"
        otherwise = f"raise num_workers, lower sequence_length, or train adapters {adapters}"
        raise ConfigError(
            f"training.accelerator_type is {kind}, which has {available:g} GiB, and a training process needs {whole} "
            f"({shown}); {f'set {settings}' if settings else otherwise}"
        )
    return f"Memory: {whole} ({shown})"


def _gib(size: int) -> str:
    return f"{size / 2**30:.1f}"


def _shown(value: Any) -> str:
    return json.dumps(value).strip('"')

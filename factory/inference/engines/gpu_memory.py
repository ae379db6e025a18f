"""How many rows a replica on GPUs works on at a time, by the GPUs' memory and the model's size."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from factory.errors import ModelError, UnreachableError
from factory.inference import model_files
from factory.inference.model_files import whole_number

MEMORY_GIB = {
    "T4": 14.5, "V100": 15.5, "A10G": 22, "L4": 22, "A100": 39, "L40S": 44, "A100-80G": 79, "H100": 79, "H20": 95,
    "H200": 139, "B200": 178,
}  # fmt: skip
"""By Ray's name of the GPU, which is A100 for both sizes: its `A100-80G` is a label that a cluster's owner gives."""
LARGE_GIB = 70
"""From here on vLLM's own class for batches, `LLM`, takes 16,384 batched tokens and 1,024 sequences, but for the
A100, which they slow down (vllm-project/vllm#17885)."""
ACTIVATIONS_GIB = 4
"""Neither weights nor cache: activations, logits of all rows, CUDA graphs."""
UTILIZATION = 0.92
"""vLLM's default of gpu_memory_utilization."""
ROW_TOKENS = 1024
"""Tokens that a row holds in the cache on average: its prompt and half of its reply."""
FEWEST, MOST, STEP = 256, 1024, 32
UNKNOWN = 512
"""Where the GPU or the model is not known. On a small GPU the cache holds fewer rows and the others wait; what more
slots take by themselves is the memory of their logits, 0.5 GiB here."""
ONE_FILE_BYTES = 5e9
"""Most that the weights of a model take whose files have no index."""


@dataclass(frozen=True)
class ModelSize:
    """The memory that a model takes."""

    weights: float
    """Bytes."""
    layers: int
    heads: int
    """Of keys and values."""
    head_size: int
    is_quantized: bool


def is_large(accelerator_type: str | None) -> bool:
    """Return whether a kind of GPU has the memory and the speed for the largest batches."""
    kind = accelerator_type or ""
    return MEMORY_GIB.get(kind, 0) >= LARGE_GIB and not kind.startswith("A100")


def default_slots(accelerator_type: str | None, model: str, engine_kwargs: Mapping[str, Any]) -> int:
    """Return the default of max_num_seqs.

    Args:
        accelerator_type: Ray's name of the GPU; None if any will do.
        model: its name in the config. Only its small files are read.
        engine_kwargs: the config's.
    """
    memory = MEMORY_GIB.get(accelerator_type or "")
    size = _size(model) if memory else None
    return rows_in_cache(memory, size, engine_kwargs) if memory and size else UNKNOWN


def rows_in_cache(memory: float, size: ModelSize, engine_kwargs: Mapping[str, Any]) -> int:
    """Return the rows that the key-value cache holds beside the weights, between `FEWEST` and `MOST`."""
    across, deep = (int(engine_kwargs.get(f"{how}_parallel_size", 1)) for how in ("tensor", "pipeline"))
    halved = engine_kwargs.get("quantization") == "fp8" and not size.is_quantized
    weights = size.weights / (2 if halved else 1) / across / deep
    value_bytes = 1 if str(engine_kwargs.get("kv_cache_dtype", "")).startswith("fp8") else 2
    # A head is on as many GPUs as there are more GPUs than heads.
    token = 2 * value_bytes * size.head_size * max(1, size.heads / across) * size.layers / deep
    usable = memory * float(engine_kwargs.get("gpu_memory_utilization", UTILIZATION)) - ACTIVATIONS_GIB
    rows = (usable * 2**30 - weights) / token / ROW_TOKENS
    return int(min(MOST, max(FEWEST, rows)) // STEP * STEP)


@cache
def _size(model: str) -> ModelSize | None:
    with suppress(ModelError, UnreachableError):  # the plan of a run may be made where the model is not
        return read_size(model_files.fetch(model, weights=False))
    return None


def read_size(folder: str) -> ModelSize | None:
    """Return the size of the model in a folder; None for one whose cache is of another kind.

    Raises:
        ModelError: its config cannot be read.
    """
    config = model_files.read_json(folder, "config.json")
    text = config.get("text_config")
    shape = {**config, **(text if isinstance(text, dict) else {})}
    names = ("num_hidden_layers", "num_attention_heads", "hidden_size")
    layers, heads, width = (whole_number(shape.get(name)) for name in names)
    if not (layers and heads and width) or "kv_lora_rank" in shape:
        return None
    head_size = whole_number(shape.get("head_dim")) or width // heads
    quantized = "quantization_config" in config
    return ModelSize(
        _weights(folder), layers, whole_number(shape.get("num_key_value_heads")) or heads, head_size, quantized
    )


def _weights(folder: str) -> float:
    """Return the bytes of a model's weights, also where only its small files are here."""
    index = "model.safetensors.index.json"
    if Path(folder, index).is_file():
        metadata = model_files.read_json(folder, index).get("metadata")
        total = whole_number(metadata.get("total_size")) if isinstance(metadata, dict) else None
        if total:
            return float(total)
    return float(sum(path.stat().st_size for path in Path(folder).glob("*.safetensors"))) or ONE_FILE_BYTES

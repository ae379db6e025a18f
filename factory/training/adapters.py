"""Low-rank adapters on a base model, which may have its weights in 4 bits."""

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

from factory.config import Lora, Training
from factory.errors import ConfigError
from factory.runtime.ray_session import on_gpu

ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj", "qkv_proj", "q_a_proj", "q_b_proj", "kv_a_proj_with_mqa",
             "kv_b_proj", "query_key_value", "c_attn", "Wqkv", "out_proj")  # fmt: skip
"""What transformers calls the layers of attention, by family."""
QUANTIZED_BYTES = 0.516
"""Per weight in nf4: half a byte, and the scales of blocks of 64, which are in 8 bits themselves."""


def with_adapters(model: Any, lora: Lora, tokens: Sequence[int] = ()) -> Any:
    """Return the model with low-rank adapters, which alone are trained.

    Args:
        model: the base model.
        lora: the settings.
        tokens: whose rows of the embeddings peft keeps beside the adapters, for an export.

    Raises:
        ConfigError: it has none of the layers to adapt.
    """
    from peft import LoraConfig, get_peft_model

    from factory.training.token_rows import embeddings, module_name

    rows = {module_name(model, part): list(tokens) for part in embeddings(model)} if tokens else None
    return get_peft_model(
        model,
        LoraConfig(
            task_type="CAUSAL_LM",
            r=lora.rank,
            lora_alpha=lora.alpha,
            use_rslora=lora.use_rslora,
            lora_dropout=lora.dropout,
            target_modules=_targets(model, lora),
            trainable_token_indices=rows,
        ),
    )


def _targets(model: Any, lora: Lora) -> str | list[str]:
    if lora.target_modules == "all-linear":
        return "all-linear"
    from torch import nn

    linear = {name for name, part in model.named_modules() if isinstance(part, nn.Linear)}
    last = {name.rpartition(".")[2] for name in linear}
    wanted = ATTENTION if lora.target_modules == "attention" else lora.target_modules
    found = [name for name in wanted if name in last]
    missing = [] if lora.target_modules == "attention" else [name for name in wanted if name not in last]
    if missing or not found:
        raise ConfigError(
            f"training.lora.target_modules is {lora.target_modules!r}, and the base model has no layer "
            f"{', '.join(map(repr, missing or wanted[:4]))}; it has {', '.join(sorted(last))}"
        )
    return found


def check_quantization(lora: Lora | None) -> None:
    """Check that what the quantization of a config needs is installed.

    Raises:
        ConfigError: it is not.
    """
    if lora and lora.quantization and not find_spec("bitsandbytes"):
        raise ConfigError(
            f"training.lora.quantization: {lora.quantization} needs the package bitsandbytes, which is not installed; "
            "install opencharacter-factory[qlora], or set it to null"
        )


def quantized(training: Training, dtype: Any) -> dict[str, Any]:
    """Return how transformers loads the base model of a config: with its linear layers in 4 bits, or as they are."""
    if not (training.lora and training.lora.quantization):
        return {}
    import torch
    from transformers import BitsAndBytesConfig

    return {
        "quantization_config": BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type=training.lora.quantization,
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=dtype,
            bnb_4bit_quant_storage=torch.uint8,
        ),
        # It is quantized where it is loaded to.
        "device_map": {"": torch.cuda.current_device() if on_gpu(training.device) else "cpu"},
    }


def quantized_weights(model: Any) -> int:
    """Return the number of a model's weights that quantization takes: those of all linear layers but the output's."""
    from torch import nn

    head = model.get_output_embeddings()
    return sum(part.weight.numel() for part in model.modules() if isinstance(part, nn.Linear) and part is not head)

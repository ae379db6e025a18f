"""The keys of config.json by the names that transformers 4 reads, beside those of transformers 5.

Without them, transformers 4 and what builds on it take defaults: a `rope_theta` of 10,000 where LLaMA-3 has 500,000.
"""

import json
from pathlib import Path
from typing import Any

LAYERED = ("gemma3", "olmo3")
"""Families with another rotary embedding in layers with a sliding window that transformers 4 has, too."""
BESIDE = ("rope_theta", "partial_rotary_factor")
"""What stands beside `rope_scaling`, not in it."""


def add_earlier_keys(file: Path) -> None:
    """Add the earlier keys to a config.json."""
    file.write_text(json.dumps(with_earlier_keys(json.loads(file.read_text())), indent=2) + "\n")


def with_earlier_keys(config: dict[str, Any]) -> dict[str, Any]:
    """Return the content of a config.json with the keys of both versions, also in its nested configs.

    transformers 5 reads the same model from it: it moves these keys back into `rope_parameters`.
    """
    nested = {
        name: with_earlier_keys(part)
        for name, part in config.items()
        if name.endswith("_config") and isinstance(part, dict)
    }
    dtype = {"torch_dtype": config["dtype"]} if isinstance(config.get("dtype"), str) else {}
    return config | nested | dtype | _rope(config)


def _rope(config: dict[str, Any]) -> dict[str, Any]:
    parameters = config.get("rope_parameters") or {}
    whole, sliding = parameters.get("full_attention", parameters), parameters.get("sliding_attention")
    if "rope_theta" not in whole or (sliding and not str(config.get("model_type")).startswith(LAYERED)):
        return {}
    beside = {name: whole[name] for name in BESIDE if name in whole}
    local = {"rope_local_base_freq": sliding["rope_theta"]} if sliding else {}
    return beside | local | _scaling({name: value for name, value in whole.items() if name not in BESIDE})


def _scaling(rope: dict[str, Any]) -> dict[str, Any]:
    kind = rope.get("rope_type", "default")
    if kind == "default":
        return {"rope_scaling": None}
    if kind == "longrope":  # Phi-3 of transformers 4 refuses a fourth key, and another name than `type`
        original = {name: rope.pop(name) for name in ("original_max_position_embeddings",) if name in rope}
        del rope["rope_type"]
        return {"rope_scaling": rope | {"type": kind}} | original
    return {"rope_scaling": rope}

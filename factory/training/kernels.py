"""Which kernels a training uses: Liger's, and the loss that is computed in chunks."""

from importlib.util import find_spec
from typing import Any

from factory.config import Training
from factory.errors import ConfigError
from factory.runtime.ray_session import on_gpu


def uses_liger(training: Training, model_type: str) -> bool:
    """Return whether a training uses Liger's kernels.

    Args:
        training: the settings.
        model_type: of the base model, by its config.

    Raises:
        ConfigError: it must, and cannot.
    """
    if training.liger is False:
        return False
    why = None
    if not (on_gpu(training.device) and find_spec("liger_kernel")):
        why = "needs GPUs and the package liger-kernel"
    elif (types := _liger_types()) is None:
        why = "needs a liger-kernel that can be imported here"
    elif model_type not in types:
        why = f"is not for the base model: Liger has no kernels for {model_type!r}"
    if why and training.liger:
        raise ConfigError(f"training.liger: true {why}; set it to null or false")
    return not why


def _liger_types() -> set[str] | None:
    try:
        from liger_kernel.transformers.monkey_patch import MODEL_TYPE_TO_APPLY_LIGER_FN
    except (ImportError, RuntimeError):  # without Triton, such as on a head node without a GPU
        return None
    return set(MODEL_TYPE_TO_APPLY_LIGER_FN)


def liger_options(config: Any) -> dict[str, bool]:
    """Return how Liger's kernels are put into a model with this config of transformers.

    We compute the loss, over learned tokens alone. Liger rotates whole heads, so that the positions of a model that
    rotates a part of each (Phi-4-mini) would be wrong.
    """
    text = config.get_text_config()
    rope = getattr(text, "rope_parameters", None) or {}
    parts = [getattr(text, "partial_rotary_factor", None), rope.get("partial_rotary_factor")]
    parts += [one.get("partial_rotary_factor") for one in rope.values() if isinstance(one, dict)]
    is_part = any(part not in (None, 1) for part in parts)
    return {"fused_linear_cross_entropy": False, "cross_entropy": False} | ({"rope": False} if is_part else {})


def wants_fused_loss(training: Training, gpu: bool) -> bool:
    """Return whether a training computes its loss in chunks, if its base model's output layer allows it."""
    return gpu if training.fused_loss is None else training.fused_loss


def no_fused_loss(why: str) -> ConfigError:
    """Return the error for a base model whose loss must be computed in chunks, and cannot."""
    return ConfigError(f"training.fused_loss: true is not for the base model: {why}; set it to null or false")

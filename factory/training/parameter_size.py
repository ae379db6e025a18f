"""The size of a parameter, which under ZeRO-3 a worker has only a part of."""

from typing import Any


def whole_size(parameter: Any) -> int:
    """Return the number of a parameter's elements over all workers, whether or not it is partitioned."""
    return int(getattr(parameter, "ds_numel", parameter.numel()))


def whole_dimensions(parameter: Any) -> int:
    """Return the number of a parameter's dimensions, whether or not it is partitioned."""
    return len(getattr(parameter, "ds_shape", parameter.shape))

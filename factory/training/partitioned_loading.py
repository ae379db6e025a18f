"""Loading under ZeRO-3: each parameter is partitioned as it is created, so that no worker ever has the whole model."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from factory.config import Training
from factory.training.deepspeed_engine import zero_config


@contextmanager
def partitioned(training: Training, on_gpu: bool) -> Iterator[None]:
    """Let transformers create and load models in partitions, if the ZeRO stage is 3; every worker must enter it.

    The first worker's weights are scattered to the others, which map the files and do not read them.
    """
    if training.zero_stage != 3:
        yield
        return
    from transformers.integrations.deepspeed import HfDeepSpeedConfig, unset_hf_deepspeed_config

    config = HfDeepSpeedConfig(zero_config(training, on_gpu))  # transformers keeps a weak reference to it
    try:
        yield
    finally:
        unset_hf_deepspeed_config()
        del config


@contextmanager
def whole(parameters: Iterable[Any], changes: bool = False) -> Iterator[None]:
    """Have parameters whole on every worker, partitioned or not; every worker must enter it.

    Args:
        parameters: which.
        changes: whether they are changed; what the first worker does to them counts.
    """
    parts = [parameter for parameter in parameters if hasattr(parameter, "ds_id")]
    if not parts:
        yield
        return
    import deepspeed

    with deepspeed.zero.GatheredParameters(parts, modifier_rank=0 if changes else None):
        yield

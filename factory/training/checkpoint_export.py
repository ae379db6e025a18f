"""Checkpoints to models: each is exported in a task on a machine of the workers, without their GPUs."""

from collections.abc import Sequence
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from factory.inference import model_files
from factory.records import Counts
from factory.runtime.progress import Progress
from factory.runtime.ray_session import IO_TASK_CPUS, reraise_own_errors
from factory.training.checkpoint_models import CheckpointModel
from factory.training.checkpointing.checkpoint_weights import checkpoint_weights
from factory.training.checkpointing.checkpoints import Checkpoint
from factory.training.model_export import export_model
from factory.training.worker_group import node_labels
from factory.training.worker_setup import ModelSetup


def export_checkpoint(checkpoint: Checkpoint, setup: ModelSetup, node_id: str = "") -> None:
    """Export a model from its checkpoint, on a machine of the workers, which have the memory for it.

    Args:
        checkpoint: it has the weights.
        setup: what they are exported with.
        node_id: the machine that is taken if it is still there; empty for any of the workers'.

    Raises:
        TrainingError: the checkpoint is damaged.
    """
    place = NodeAffinitySchedulingStrategy(node_id, soft=True) if node_id else None
    options: dict[str, Any] = (
        {"scheduling_strategy": place} if place else {"label_selector": node_labels(setup.training)}
    )
    ray.get(_export.options(**options).remote(checkpoint, setup))


@ray.remote(num_cpus=IO_TASK_CPUS, max_retries=2)
def _export(checkpoint: Checkpoint, setup: ModelSetup) -> None:
    export_model(checkpoint_weights(checkpoint), model_files.fetch(setup.base_model), setup)


def export_checkpoints(models: Sequence[CheckpointModel], progress: Progress) -> None:
    """Export the checkpoints whose models are missing, one after the other: each takes the memory of a model.

    Raises:
        TrainingError: a checkpoint is damaged.
    """
    missing = [model for model in models if not model.is_exported]
    if not missing:
        return
    progress.start(["checkpoint models"], len(missing), "models")
    try:
        for model in missing:
            with reraise_own_errors():
                export_checkpoint(model.checkpoint, model.setup)
            progress.advance(Counts(ok=1))
            progress.print(f"Exported step {model.checkpoint.step:,} to {model.setup.model_folder}")
    finally:
        progress.stop()

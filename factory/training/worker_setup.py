"""Everything that a training worker receives from the driver."""

from dataclasses import dataclass

from factory.config import Training
from factory.training.data_order import SampleOrder
from factory.training.pack_step import PackedTable


@dataclass(frozen=True)
class ModelSetup:
    """What decides how weights become a model."""

    training: Training
    """With the precision resolved."""
    base_model: str
    """As `Located.pinned` has it."""
    model_folder: str
    """Where the model is exported to."""
    fingerprint: str
    """Of the exported model."""


@dataclass(frozen=True)
class WorkerSetup(ModelSetup):
    """The same for all workers of a group."""

    seed: int
    on_gpu: bool
    checkpoints: str
    """The folder of checkpoints."""
    train: PackedTable
    validation: PackedTable
    order: SampleOrder

"""The kept checkpoints of a training as models: which an evaluation scores, where each is exported, and as what."""

from dataclasses import dataclass
from typing import Any

from factory.config import Lora, RunConfig, Training
from factory.errors import ConfigError
from factory.inference.model_files import Located
from factory.inference.stored_models import finished_fingerprint
from factory.run_output import layout
from factory.storage.tables import compute_fingerprint
from factory.training.checkpointing import checkpoints
from factory.training.checkpointing.checkpoints import Checkpoint, is_weights_file
from factory.training.dialogue import template_identity
from factory.training.worker_setup import ModelSetup


@dataclass(frozen=True)
class CheckpointModel:
    """A checkpoint, and what it is exported with."""

    checkpoint: Checkpoint
    setup: ModelSetup

    @property
    def is_exported(self) -> bool:
        """Whether its folder has been written."""
        return finished_fingerprint(self.setup.model_folder) == self.setup.fingerprint

    @property
    def size(self) -> int:
        """Bytes of its weights; with adapters, of these alone."""
        return sum(size for size, _ in _weights(self.checkpoint).values())


def checkpoint_models(config: RunConfig) -> list[CheckpointModel]:
    """Return the checkpoints that `evaluation.checkpoints` chooses, in order of their steps.

    Raises:
        ConfigError: there are none, or the settings are not those that they were trained with.
    """
    table = layout.CHECKPOINTS.table(config.output)
    inputs = table.inputs()
    if inputs is None:
        raise ConfigError(
            f"evaluation.checkpoints is {config.evaluation.checkpoints!r}, but no training was begun in "
            f"{config.output}; run `character-factory train` first, or leave it out"
        )
    complete = [each for each in checkpoints.complete_checkpoints(table.path) if _weights(each)]
    if not complete:
        raise ConfigError(
            f"evaluation.checkpoints is {config.evaluation.checkpoints!r}, but {table.path} has no whole checkpoint; "
            "train on, or leave it out"
        )
    wanted = complete
    if config.evaluation.checkpoints == "best":
        wanted = [each for name in ("best", "last") if (each := checkpoints.choose(complete, name))]
    by_step = {each.step: each for each in wanted}
    training = _as_trained(config.training, inputs)
    return [_model(config, by_step[step], training, inputs) for step in sorted(by_step)]


def _weights(checkpoint: Checkpoint) -> checkpoints.Files:
    return {name: each for name, each in checkpoint.files.items() if is_weights_file(name)}


def _as_trained(training: Training, inputs: dict[str, Any]) -> Training:
    """Return the settings that decide how weights become a model, as the checkpoints were trained with them."""
    if template_identity(training.chat_template) != inputs["chat_template"]:
        raise ConfigError(
            f"evaluation.checkpoints: training.chat_template is {training.chat_template!r}, and the checkpoints were "
            f"trained with another one ({inputs['chat_template']}); restore it"
        )
    trained: dict[str, Any] = {
        "base_model": inputs["model"]["ref"],
        "precision": inputs["precision"],
        "lora": inputs["lora"] and Lora.model_validate(inputs["lora"]),
    }
    return training.model_copy(update=trained)


def _model(config: RunConfig, checkpoint: Checkpoint, training: Training, inputs: dict[str, Any]) -> CheckpointModel:
    names = ("model", "precision", "lora", "chat_template")
    decisive = {"weights": _weights(checkpoint), **{name: inputs[name] for name in names}}
    folder = layout.checkpoint_model(config, checkpoint.step)
    base = Located(**inputs["model"]).pinned
    return CheckpointModel(checkpoint, ModelSetup(training, base, folder, compute_fingerprint(decisive)))

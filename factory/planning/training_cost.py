"""Training time: from the pilot's own steps, or from the floating-point operations of the model."""

import re
from dataclasses import dataclass

import numpy as np

from factory.config import Planning
from factory.planning.bottlenecks import BATCH, START, TRAINING, Parts
from factory.planning.pilot import Pilot
from factory.planning.rates import RATE_SPREAD
from factory.planning.uncertainty import Draws, constant, lognormal, uniform
from factory.planning.workload import TrainingStep
from factory.run_output import layout

OPERATIONS = 6
"""Floating-point operations per parameter and token: two forward, four backward."""
RECOMPUTED = 8 / 6
"""With gradient checkpointing the forward pass is computed twice."""
MFU_SPREAD = 0.2
TOKENS_SPREAD = 0.1
START_S = (20.0, 60.0, 180.0)
"""Until workers have started and loaded the model, without a pilot."""
_SIZE = re.compile(r"(?<![\w.])(\d+(?:\.\d+)?)\s*[bB](?![a-zA-Z0-9])")


@dataclass(frozen=True)
class TrainingFigures:
    """What the time of training follows from; `missing` lists what is not known."""

    tokens: Draws | None
    """Of all epochs; validation, some percent more, is not counted."""
    rate: Draws | None
    """Tokens per second of one worker."""
    startup: Draws
    """Start-up, checkpoints and what else does not grow with the steps."""
    parameters: float | None
    missing: tuple[str, ...]


def training_figures(step: TrainingStep, planning: Planning, pilot: Pilot | None, flops: float) -> TrainingFigures:
    """Return everything that is known of training; `flops` are the operations per second of one of its GPUs."""
    training, missing = step.settings, []
    tokens, per_dialogue = None, _tokens_per_dialogue(planning, pilot)
    if step.dialogues is None:
        missing.append("training: the number of dialogues is not known; `make train ARGS=--dry-run` counts them")
    elif per_dialogue is None:
        missing.append(
            "training: tokens per dialogue are not known; give planning.dialogue_tokens, or a pilot that packed"
        )
    else:
        splits = (layout.CURATED.name(split=split) for split in ("train", "validation"))
        accepted = pilot.accepted(*splits) if pilot else None
        tokens = step.dialogues * per_dialogue * training.epochs * (1 if accepted is None else accepted)
    parameters, startup = parameter_count(training.base_model, pilot), uniform(*START_S, "training start")
    trained = pilot.tables.get(layout.CHECKPOINTS.name()) if pilot else None
    steps = list(pilot.training_steps()) if pilot else []
    rate, spread = planning.training_tokens_per_second, RATE_SPREAD
    if trained and steps:
        seconds = sum(row["seconds"] for row in steps)
        startup = lognormal(max(float(trained.manifest["seconds"]) - seconds, 5.0), RATE_SPREAD, "training start")
        if trained.model == training.base_model:
            workers = int(trained.manifest["trained_by"]["workers"])
            rate = rate or sum(row["tokens"] for row in steps) / seconds / workers
    if not rate and parameters and step.on_gpu:
        operations = parameters * OPERATIONS * (RECOMPUTED if training.gradient_checkpointing else 1)
        rate, spread = flops * planning.mfu / operations, MFU_SPREAD
    if not rate:
        missing.append(
            f"training: the speed of training {training.base_model!r} is not known; give a pilot that trained it, "
            "or planning.training_tokens_per_second"
        )
    speed = lognormal(rate, spread, "training rate") if rate else None
    return TrainingFigures(tokens, speed, startup, parameters, tuple(missing))


def parameter_count(base_model: str, pilot: Pilot | None) -> float | None:
    """Return the parameters of a base model: as in the pilot, else by its name."""
    trained = pilot.tables.get(layout.CHECKPOINTS.name()) if pilot else None
    if trained and trained.model == base_model:
        return float(trained.manifest["trained_by"]["parameters"])
    found = _SIZE.findall(base_model.rpartition("/")[2].replace("-", " "))
    return float(found[-1]) * 1e9 if found else None


def _tokens_per_dialogue(planning: Planning, pilot: Pilot | None) -> Draws | None:
    if planning.dialogue_tokens:
        return constant(planning.dialogue_tokens)
    packed = pilot.tables.get(layout.PACKED.name(split="train")) if pilot else None
    if packed is None or not packed.manifest["ok"]:
        return None
    return lognormal(packed.manifest["tokens"] / packed.manifest["ok"], TOKENS_SPREAD, "dialogue tokens")


def training_parts(batch: int, figures: TrainingFigures, workers: float) -> Parts:
    """Return the parts of training's time; workers beyond the sequences of a step (`batch`) have nothing to do."""
    assert figures.tokens is not None
    assert figures.rate is not None
    even = figures.tokens / figures.rate / workers
    busy = min(workers, batch)
    # Each worker computes a whole number of sequences per step.
    imbalance = max(np.ceil(batch / workers) * busy / batch, 1.0)
    return {START: figures.startup, TRAINING: even, BATCH: even * workers / busy * imbalance - even}

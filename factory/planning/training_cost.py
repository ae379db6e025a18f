"""Training time: from the pilot's own steps, or from the floating-point operations of the model."""

import re

import numpy as np

from factory.config import Training
from factory.planning import constants as c
from factory.planning.pilot import Pilot
from factory.planning.plan_steps import Parts, Step
from factory.planning.planner import Planner
from factory.planning.uncertainty import UNKNOWN, Draws, constant, lognormal, uniform
from factory.run_output import layout
from factory.training.checkpointing.checkpoints import RESUMABLE_KEPT

_SIZE = re.compile(r"(?<![\w.])(\d+(?:\.\d+)?)\s*[bB](?![a-zA-Z0-9])")


def add_training(planner: Planner, training: Training, dialogues: Draws, on_gpu: bool) -> None:
    """Add training to a plan; workers beyond the sequences of a step have nothing to do.

    Args:
        planner: the plan.
        training: the config's section.
        dialogues: before curation.
        on_gpu: whether it trains on GPUs.
    """
    tokens, (rate, startup) = _tokens(planner, training, dialogues), _rate(planner, training, on_gpu)
    batch, parameters = training.global_batch_size, parameter_count(training.base_model, planner.pilot) or 0
    planner.weight_bytes = parameters * _kept_bytes(training)

    def parts(cpus: float, workers: float) -> Parts:
        even = tokens / rate / workers
        # Each worker computes a whole number of sequences per step.
        uneven = tokens / rate * np.ceil(batch / workers) / batch
        return {"start-up": startup, "training": even, "global batch": uneven - even}

    workers, gpus = training.num_workers, int(on_gpu)
    planner.steps.append(Step("training", "training", parts, workers, "process", gpus, "training", scales=True))


def _kept_bytes(training: Training) -> int:
    """Return the bytes per parameter of checkpoints and model when most are there: while one more is written."""
    weights = 4 if training.precision == "fp32" else c.WEIGHT_BYTES
    whole = min(training.save_total_limit, RESUMABLE_KEPT) + 1
    weights_alone = max(training.save_total_limit - RESUMABLE_KEPT, 0) + 1  # the best one
    exported = training.export_step is not None
    return whole * (c.OPTIMIZER_BYTES + weights) + (weights_alone + exported + 1) * weights


def _tokens(planner: Planner, training: Training, dialogues: Draws) -> Draws:
    """Return the tokens of all epochs; validation, some percent more, is not counted."""
    packed, missing = planner.pilot.tables.get(layout.PACKED.name(split="train")), planner.missing
    per_dialogue = UNKNOWN
    if planner.planning.dialogue_tokens:
        per_dialogue = constant(planner.planning.dialogue_tokens)
    elif packed and packed.manifest["ok"]:
        per_dialogue = lognormal(packed.manifest["tokens"] / packed.manifest["ok"], c.TOKENS_SPREAD, "dialogue tokens")
    if np.isnan(dialogues[0]):
        missing.append("training: the number of dialogues is not known; `make train ARGS=--dry-run` counts them")
    elif np.isnan(per_dialogue[0]):
        line = "training: tokens per dialogue are not known; give planning.dialogue_tokens, or a pilot that packed"
        missing.append(line)
    splits = (layout.CURATED.name(split=split) for split in layout.SPLITS)
    return planner.accepted(dialogues, *splits) * per_dialogue * training.epochs


def _rate(planner: Planner, training: Training, on_gpu: bool) -> tuple[Draws, Draws]:
    """Return tokens per second of one worker, and the seconds that do not grow with the steps (start, checkpoints)."""
    planning, pilot, startup = planner.planning, planner.pilot, uniform(*c.TRAINING_START_S, "training start")
    rate, spread = planning.training_tokens_per_second, c.RATE_SPREAD
    trained = pilot.tables.get(layout.CHECKPOINTS.name())
    if trained and (steps := list(pilot.training_steps())):
        seconds = sum(row["seconds"] for row in steps)
        startup = lognormal(max(float(trained.manifest["seconds"]) - seconds, 5.0), c.RATE_SPREAD, "training start")
        if trained.model == training.base_model:
            workers = int(trained.manifest["trained_by"]["workers"])
            rate = rate or sum(row["tokens"] for row in steps) / seconds / workers
    parameters = parameter_count(training.base_model, pilot)
    if not rate and parameters and on_gpu:
        operations = parameters * c.OPERATIONS * (c.RECOMPUTED if training.gradient_checkpointing else 1)
        rate, spread = planner.flops * planning.mfu / operations, c.MFU_SPREAD
    if not rate:
        planner.missing.append(
            f"training: the speed of training {training.base_model!r} is not known; give a pilot that trained it, "
            "or planning.training_tokens_per_second"
        )
    return lognormal(rate or np.nan, spread, "training rate"), startup


def parameter_count(base_model: str, pilot: Pilot) -> float | None:
    """Return the parameters of a base model: as in the pilot, else by its name."""
    trained = pilot.tables.get(layout.CHECKPOINTS.name())
    if trained and trained.model == base_model:
        return float(trained.manifest["trained_by"]["parameters"])
    found = _SIZE.findall(base_model.rpartition("/")[2].replace("-", " "))
    return float(found[-1]) * 1e9 if found else None

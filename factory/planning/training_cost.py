"""What training takes: tokens, steps and time, by the pilot's own steps or by the operations of the model."""

import re
from dataclasses import dataclass

import numpy as np

from factory.config import Planning
from factory.planning.bottlenecks import BATCH, START, TRAINING, Parts
from factory.planning.pilot import Pilot
from factory.planning.rates import RATE_SPREAD
from factory.planning.uncertainty import Draws, between, exactly, give_or_take, share
from factory.planning.workload import Training

OPERATIONS = 6
"""Floating-point operations a parameter and token: two forward, four backward."""
RECOMPUTED = 8 / 6
"""Where activations are computed again, the forward pass is done twice."""
FORWARD = 1 / 3
"""A validation computes the forward pass alone."""
MFU_SPREAD = 0.2
TOKENS_SPREAD = 0.1
FILL = (0.85, 0.93, 0.99)
"""The part of a packed sequence that holds tokens; the demo's run has 0.91."""
CHECKPOINT_BYTES = 14
"""A parameter in a checkpoint: weights in bfloat16, and in float32 the weights and Adam's two moments."""
WEIGHT_BYTES = 2
START_S = (20.0, 60.0, 180.0)
"""Until workers are up and have loaded the model, where no pilot says it."""
_SIZE = re.compile(r"(?<![\w.])(\d+(?:\.\d+)?)\s*[bB](?![a-zA-Z0-9])")


@dataclass(frozen=True)
class TrainingFigures:
    """All that training follows from; `missing` says what is not known."""

    tokens: Draws | None
    """Of all epochs."""
    steps: Draws | None
    rate: Draws | None
    """Tokens a second of one worker."""
    fixed: Draws
    """Start-up, checkpoints and what else does not grow with the steps."""
    validation_tokens: Draws
    parameters: float | None
    basis: str
    missing: tuple[str, ...] = ()


def parameters_of(training: Training, pilot: Pilot | None) -> tuple[float | None, str]:
    """How many parameters the base model has, and how that is known."""
    trained = pilot.tables.get("checkpoints") if pilot else None
    if trained and trained.model == training.base_model:
        return float(trained.manifest["trained_by"]["parameters"]), "as in the pilot"
    found = _SIZE.findall(training.base_model.rpartition("/")[2].replace("-", " "))
    return (float(found[-1]) * 1e9, "by its name") if found else (None, "not known")


def training_figures(
    training: Training, planning: Planning, pilot: Pilot | None, flops: float | None
) -> TrainingFigures:
    """Everything that is known of training.

    Args:
        training: what is trained.
        planning: what the config gives.
        pilot: an earlier small run.
        flops: operations a second of a GPU, None on a CPU.
    """
    missing, (parameters, by) = [], parameters_of(training, pilot)
    tokens = validation = steps = None
    a_dialogue = _dialogue_tokens(planning, pilot)
    if training.dialogues is None:
        missing.append(
            "training: it is not known how many dialogues there are; `make train ARGS=--dry-run` counts them"
        )
    elif a_dialogue is None:
        missing.append(
            "training: tokens a dialogue are not known; give planning.dialogue_tokens, or a pilot that packed"
        )
    else:
        kept = training.dialogues * _curated(pilot)
        in_training = kept * (1 - training.validation_fraction) * a_dialogue
        sequences = in_training / training.sequence_length / between(*FILL, "fill")
        steps = np.maximum(np.ceil(sequences * training.epochs / training.batch), 1.0)
        tokens = in_training * training.epochs
        read = np.minimum(training.validation_sequences * training.sequence_length, kept * a_dialogue - in_training)
        validation = read * (2 + np.floor(steps / training.eval_steps))
    rate, basis = _rate(training, planning, pilot, parameters, by, flops)
    if rate is None:
        missing.append("training: " + basis)
    fixed = _fixed(training, pilot, rate)
    none = exactly(0)
    return TrainingFigures(
        tokens, steps, rate, fixed, none if validation is None else validation, parameters, basis, tuple(missing)
    )


def _curated(pilot: Pilot | None) -> Draws:
    """The share of dialogues that curation takes; all of them where that is not known."""
    tables = [pilot.tables[name] for name in ("curated/train", "curated/validation") if pilot and name in pilot.tables]
    rows = sum(table.rows for table in tables)
    return share(sum(int(table.manifest["ok"]) for table in tables), rows, "curated") if rows else exactly(1)


def _dialogue_tokens(planning: Planning, pilot: Pilot | None) -> Draws | None:
    if planning.dialogue_tokens:
        return exactly(planning.dialogue_tokens)
    packed = pilot.tables.get("packed/train") if pilot else None
    if packed is None or not packed.manifest["ok"]:
        return None
    return give_or_take(packed.manifest["tokens"] / packed.manifest["ok"], TOKENS_SPREAD, "dialogue tokens")


def _rate(
    training: Training, planning: Planning, pilot: Pilot | None, parameters: float | None, by: str, flops: float | None
) -> tuple[Draws | None, str]:
    if planning.training_tokens_per_second:
        return give_or_take(planning.training_tokens_per_second, RATE_SPREAD, "training rate"), "given"
    trained = pilot.tables.get("checkpoints") if pilot else None
    steps = list(pilot.steps()) if pilot else []
    if trained and steps and trained.model == training.base_model:
        seconds, tokens = (sum(step[name] for step in steps) for name in ("seconds", "tokens"))
        rate = tokens / seconds / int(trained.manifest["trained_by"]["workers"])
        return give_or_take(rate, RATE_SPREAD, "training rate"), f"{len(steps):,} steps of the pilot"
    if parameters and flops:
        operations = parameters * OPERATIONS * (RECOMPUTED if training.recomputes else 1)
        rate = flops * planning.mfu / operations
        told = f"{parameters / 1e9:g} B parameters ({by}), {planning.mfu:.0%} of {flops / 1e12:,.0f} TFLOP/s"
        return give_or_take(rate, MFU_SPREAD, "training rate"), told
    return None, (
        f"the speed of training {training.base_model!r} is not known; give a pilot that trained it, "
        "or planning.training_tokens_per_second"
    )


def _fixed(training: Training, pilot: Pilot | None, rate: Draws | None) -> Draws:
    """Seconds of the pilot's training that were neither steps nor validations."""
    trained = pilot.tables.get("checkpoints") if pilot else None
    steps = list(pilot.steps()) if pilot else []
    if not trained or not steps or rate is None or not pilot:
        return between(*START_S, "training start")
    packed = pilot.tables.get("packed/validation")
    read = float(packed.manifest["tokens"]) if packed else 0.0
    workers = int(trained.manifest["trained_by"]["workers"])
    validations = 2 + len(steps) // training.eval_steps
    checking = read * validations * FORWARD / (rate[0] * workers)
    rest = float(trained.manifest["seconds"]) - sum(step["seconds"] for step in steps) - checking
    return give_or_take(max(rest, 5.0), RATE_SPREAD, "training start")


def training_parts(training: Training, known: TrainingFigures, workers: float) -> Parts:
    """The parts of training's time; more workers than packed sequences in a step have nothing to do."""
    assert known.tokens is not None
    assert known.steps is not None
    assert known.rate is not None
    even = (known.tokens + FORWARD * known.validation_tokens) / known.rate / workers
    # Each worker takes a whole number of sequences in a step.
    share_of_step = np.ceil(training.batch / workers) * min(workers, training.batch) / training.batch
    working = min(workers, training.batch)
    loaded = (known.tokens + FORWARD * known.validation_tokens) / known.rate / working * max(share_of_step, 1.0)
    return {START: known.fixed, TRAINING: even, BATCH: loaded - even}

"""All of a plan: stages with their tokens, and the steps of the run in order, each with what its time follows from."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

from factory.config import Planning
from factory.planning import bottlenecks
from factory.planning.bottlenecks import START, Parts
from factory.planning.pilot import Pilot
from factory.planning.rates import STARTUP_SPREAD, Known, Tokens, given_rate, mixed, pace_of, seen_rate, tokens_of
from factory.planning.training_cost import TrainingFigures, training_figures, training_parts
from factory.planning.uncertainty import Draws, between, exactly, give_or_take
from factory.planning.workload import Crew, Outline, Phase, Stage

JOB_START_S = (8.0, 16.0, 30.0)
"""From the command to its first step, and from the last step to the end: 13 and 3 s on a small, busy machine."""
FIRST_STEP_S, STEP_S = 8.0, 3.0
"""What a step of Ray Data takes whatever its rows; the first one of a job starts the workers."""

PartsOf = Callable[[float, float], Parts]
"""The parts of a step's time on so many CPU cores, and so many replicas or training processes."""


@dataclass(frozen=True)
class StageFigures:
    """A stage and what its rows take."""

    stage: Stage
    crew: Crew
    tokens: Tokens


@dataclass(frozen=True)
class Step:
    """A part of the run that takes time; steps of one `moment` run at the same time."""

    name: str
    moment: str
    workers: int = 1
    """Replicas or training processes, as the config has them."""
    gpus_per_worker: int = 0
    part: Literal["synthesis", "judges", "training"] = "synthesis"
    """Whose GPUs those are, as `planning.gpu` names their kinds."""
    scales: bool = False
    """Whether more replicas or training processes help."""
    parts: PartsOf | None = None
    """None where something that it needs is not known."""


@dataclass(frozen=True)
class Estimate:
    """Everything that a plan tells; a simulation asks its steps for other clusters."""

    outline: Outline
    stages: tuple[StageFigures, ...]
    steps: tuple[Step, ...]
    training: TrainingFigures | None
    missing: tuple[str, ...]
    notes: tuple[str, ...] = ()
    """What makes the plan less sure than it could be."""


def estimate(outline: Outline, planning: Planning, pilot: Pilot | None, engine: Crew, flops: float | None) -> Estimate:
    """Work out a plan.

    Args:
        outline: what is to be done.
        planning: what the config gives.
        pilot: an earlier small run.
        engine: that of the config's section `engine`.
        flops: operations a second of a GPU that trains, None on a CPU.
    """
    work = _Work(outline, planning, pilot, engine)
    training = training_figures(outline.training, planning, pilot, flops) if outline.training else None
    steps = [*work.synthesis(), *work.curation()]
    if training:
        steps += work.training(training)
    steps += work.evaluation()
    missing = (*work.missing, *(training.missing if training else ()))
    unique = tuple(dict.fromkeys(missing))
    return Estimate(outline, tuple(work.stages), tuple(steps), training, unique, tuple(work.notes))


class _Work:
    """Puts the steps together, and keeps what is missing on the way."""

    def __init__(self, outline: Outline, planning: Planning, pilot: Pilot | None, engine: Crew) -> None:
        self.outline, self.planning, self.pilot, self.engine = outline, planning, pilot, engine
        self.stages: list[StageFigures] = []
        self.missing: list[str] = []
        self.notes: list[str] = []

    def synthesis(self) -> list[Step]:
        """Files to dialogues."""
        steps, s3 = [_start("synthesize")], self.outline.on_s3
        for number, intake in enumerate(self.outline.intakes):
            fixed = self._fixed(intake.table, STEP_S if number else FIRST_STEP_S)
            known = intake.rows is not None
            steps.append(_cores(f"read {intake.table}", known, partial(bottlenecks.intake_parts, intake, s3, fixed)))
            if not known:
                self.missing.append(
                    f"{intake.table}: its rows cannot be counted from here; give its `limit`, or run where it is"
                )
        steps += self._phases("profiles")
        for pairing in self.outline.pairings:
            fixed, known = self._fixed(pairing.table, STEP_S), pairing.rows is not None and pairing.profiles is not None
            steps.append(_cores(pairing.table, known, partial(bottlenecks.pairing_parts, pairing, s3, fixed)))
        return steps + self._phases("dialogues")

    def curation(self) -> list[Step]:
        """Dialogues to the curated set."""
        if not self.outline.curated:
            return []
        rows, fixed = self.outline.dialogues, self._fixed("curated/train", FIRST_STEP_S)
        work = partial(bottlenecks.curation_parts, exactly(1) if rows is None else rows, self.outline.on_s3, fixed)
        return [_start("curate"), _cores("curation", rows is not None, work)]

    def training(self, figures: TrainingFigures) -> list[Step]:
        """The curated set to a model."""
        training = self.outline.training
        assert training is not None
        rows, fixed = training.dialogues, self._fixed("packed/train", FIRST_STEP_S)
        packing = partial(bottlenecks.packing_parts, exactly(1) if rows is None else rows, self.outline.on_s3, fixed)
        known = figures.tokens is not None and figures.rate is not None

        def parts(_: float, workers: float) -> Parts:
            return training_parts(training, figures, workers)

        trained = Step(
            "training", "training", training.workers, int(training.on_gpu), "training", True, parts if known else None
        )
        return [_start("train"), _cores("packing", rows is not None, packing), trained]

    def evaluation(self) -> list[Step]:
        """A model to its scores."""
        phases = [phase.name for phase in self.outline.phases if phase.name not in ("profiles", "dialogues")]
        return [_start("evaluate"), *(step for name in phases for step in self._phases(name))] if phases else []

    def _fixed(self, table: str, otherwise: float) -> Draws:
        """What a step takes whatever its rows: in a pilot, where they are few, that is all of it."""
        seen = self.pilot.seconds(table) if self.pilot else None
        return give_or_take(otherwise if seen is None else seen, STARTUP_SPREAD, f"fixed {table}")

    def _phases(self, name: str) -> list[Step]:
        return [self._phase(phase) for phase in self.outline.phases if phase.name == name]

    def _phase(self, phase: Phase) -> Step:
        tokens = [tokens_of(stage, self.planning, self.pilot) for stage in phase.stages]
        self.stages += [StageFigures(stage, phase.crew, of) for stage, of in zip(phase.stages, tokens, strict=True)]
        known, parts, crew = self._known(phase, tokens), None, phase.crew
        if known is not None:
            shards = sum(
                (bottlenecks.shards_of(stage.rows) for stage in phase.stages if stage.rows is not None), exactly(0)
            )
            parts = partial(_phase_parts, known, shards, self.outline.on_s3)
        scales = crew.kind in ("vllm", "served")
        part: Literal["synthesis", "judges"] = "synthesis" if crew == self.engine else "judges"
        return Step(phase.name, phase.moment, crew.replicas, crew.gpus_a_replica, part, scales, parts)

    def _known(self, phase: Phase, tokens: list[Tokens]) -> Known | None:
        """What a phase's time follows from; None where something is missing, which is noted."""
        parts, prompts = [], exactly(0)
        for stage, of in zip(phase.stages, tokens, strict=True):
            if of.lengths is None:
                self.missing.append(f"{stage.kind}: tokens a reply are not known; planning.{stage.kind}.output_tokens")
            elif stage.rows is not None:
                parts.append((stage.rows, of.lengths))
                if of.prompt is not None and of.cached is not None:
                    prompts = prompts + stage.rows * (of.prompt - of.cached)
        if len(parts) < len(phase.stages):
            return None
        rows, pace = sum((number for number, _ in parts), exactly(0)), pace_of(phase.crew)
        outputs = [number * lengths.mean for number, lengths in parts]
        rate = given_rate(phase, self.planning, phase.crew == self.engine, outputs)
        if rate is not None:
            prompts = exactly(0)  # a speed that is given counts the prompts in
        elif self.pilot:
            rate = seen_rate(phase, self.pilot, pace)
            self._check_pilot(phase, self.pilot, pace.places)
        if rate is None:
            own = "planning.tokens_per_second" if phase.crew == self.engine else ""
            names = " or ".join([own] * bool(own) + [f"planning.{phase.stages[0].kind}.tokens_per_second"])
            self.missing.append(f"{phase.name}: the speed of {phase.crew.model} is not known; {names}")
            return None
        return Known(rows, mixed(parts), prompts / rows, rate, self._startup(phase), pace)

    def _check_pilot(self, phase: Phase, pilot: Pilot, places: int) -> None:
        seen = [one for stage in phase.stages for one in pilot.of(stage.table, stage.kind)]
        # A model that was trained by a run lies in that run's own folder.
        others = {one.model for one in seen if one.model.rpartition("/")[2] != phase.crew.model.rpartition("/")[2]}
        if others:
            self.notes.append(
                f"{phase.name}: the pilot's model was {', '.join(sorted(others))}, not {phase.crew.model}."
            )
        most = max((sum(each.rows for each in pilot.beside(one)) / one.engines for one in seen), default=places)
        if most < places and phase.crew.kind in ("vllm", "served"):
            self.notes.append(
                f"{phase.name}: the pilot's engine had {most:,.0f} rows for {places:,} places; "
                "one with more tells its full speed better."
            )

    def _startup(self, phase: Phase) -> Draws:
        if phase.crew.kind in ("openai", "scripted") or phase.moment == "judgments":  # the judges are up by then
            return exactly(0)
        if self.planning.startup_seconds is not None:
            return exactly(self.planning.startup_seconds)
        seen = None
        if self.pilot and phase.moment == "examples":
            seen = self.pilot.waits("answers", "examples")
        elif self.pilot:
            tables = [one for stage in phase.stages for one in self.pilot.of(stage.table, stage.kind)]
            seen = max((float(one.manifest["startup_seconds"]) for one in tables), default=0.0) or None
        if seen is None:
            self.missing.append(
                f"{phase.name}: how long its engine takes to start is not known and not counted; "
                "planning.startup_seconds"
            )
            return exactly(0)
        return give_or_take(seen, STARTUP_SPREAD, f"start-up {phase.name}")


def _phase_parts(known: Known, shards: Draws, on_s3: bool, cpus: float, replicas: float) -> Parts:
    return bottlenecks.engine_parts(known, shards, replicas) | bottlenecks.feeding_parts(
        known.rows, shards, cpus, on_s3
    )


def _cores(name: str, known: bool, work: Callable[[float], Parts]) -> Step:
    def parts(cpus: float, _: float) -> Parts:
        return work(cpus)

    return Step(name, name, parts=parts if known else None)


def _start(job: str) -> Step:
    seconds = between(*JOB_START_S, f"start {job}")
    return Step(f"start and end of {job}", f"start {job}", parts=lambda cpus, workers: {START: seconds})

"""Estimates of a workload: the tokens of its tables, and its steps in order, each with what its time follows from."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

from factory.config import Planning
from factory.planning.batching import ReplyLengths
from factory.planning.bottlenecks import START, EngineFigures, Parts, cpu_parts, engine_parts
from factory.planning.pilot import Pilot
from factory.planning.rates import STARTUP_SPREAD, RowTokens, batch_cost, given_rate, measured_rate, row_tokens
from factory.planning.training_cost import TrainingFigures, training_figures, training_parts
from factory.planning.uncertainty import Draws, constant, lognormal, uniform
from factory.planning.workload import (
    CommandStart,
    CpuStep,
    GeneratedTable,
    Phase,
    PlannedStep,
    ReplicaPool,
    TrainingStep,
    Workload,
    shard_count,
)

COMMAND_START_S = (8.0, 16.0, 30.0)
"""From the command to its first step, and from the last step to the end: 13 and 3 s on a small, busy machine."""


@dataclass(frozen=True)
class StepEstimate:
    """A part of the run that takes time; steps of one `concurrency_group` run at the same time."""

    name: str
    concurrency_group: str
    parts: Callable[[float, float], Parts] | None
    """Seconds by limit on a number of CPU cores and of workers; None if something that it needs is not known."""
    workers: int = 1
    """Replicas or training processes, as the config has them."""
    unit: str = ""
    """What a worker is called; empty if the step runs on all cores."""
    gpus_per_worker: int = 0
    part: Literal["synthesis", "judges", "training"] = "synthesis"
    """Whose GPUs those are, as `planning.gpu` names their kinds."""
    scales: bool = False
    """Whether more workers help."""


@dataclass(frozen=True)
class Estimate:
    """Everything that is known of a run before it runs."""

    workload: Workload
    tables: tuple[tuple[GeneratedTable, ReplicaPool, RowTokens], ...]
    steps: tuple[StepEstimate, ...]
    training: TrainingFigures | None
    missing: tuple[str, ...]
    notes: tuple[str, ...] = ()
    """What makes the estimate less certain than it could be."""


def estimate(
    workload: Workload, planning: Planning, pilot: Pilot | None, engine: ReplicaPool, flops: float
) -> Estimate:
    """Estimate a workload.

    Args:
        workload: what is to be done.
        planning: what the config gives.
        pilot: an earlier small run.
        engine: the replicas of the config's section `engine`.
        flops: operations per second of a GPU that trains.
    """
    work = _Estimator(planning, pilot, engine, flops)
    steps = tuple(work.step(step, workload.on_s3) for step in workload.steps)
    missing, notes = (tuple(dict.fromkeys(lines)) for lines in (work.missing, work.notes))
    return Estimate(workload, tuple(work.tables), steps, work.training, missing, notes)


class _Estimator:
    """Estimates steps, and collects what is missing on the way."""

    def __init__(self, planning: Planning, pilot: Pilot | None, engine: ReplicaPool, flops: float) -> None:
        self.planning, self.pilot, self.engine, self.flops = planning, pilot, engine, flops
        self.tables: list[tuple[GeneratedTable, ReplicaPool, RowTokens]] = []
        self.training: TrainingFigures | None = None
        self.missing: list[str] = []
        self.notes: list[str] = []

    def step(self, step: PlannedStep, on_s3: bool) -> StepEstimate:
        """Estimate one step."""
        match step:
            case CommandStart(command):
                seconds = uniform(*COMMAND_START_S, f"start {command}")
                name = f"start and end of {command}"
                return StepEstimate(name, name, lambda cpus, workers: {START: seconds})
            case CpuStep():
                return self._cpu_step(step, on_s3)
            case Phase():
                return self._phase(step)
            case TrainingStep():
                return self._training_step(step)

    def _cpu_step(self, step: CpuStep, on_s3: bool) -> StepEstimate:
        if step.rows is None or step.files is None:
            if step.name.startswith("read "):
                self.missing.append(
                    f"{step.table}: its rows cannot be counted from here; give its `limit`, or run where it is"
                )
            return StepEstimate(step.name, step.name, None)
        seen = self.pilot.tables.get(step.table) if self.pilot else None
        # A pilot has few rows: its start-up is all of its time.
        seconds = float(seen.manifest["seconds"]) if seen else step.startup_seconds
        startup = lognormal(seconds, STARTUP_SPREAD, f"start-up {step.table}")
        return StepEstimate(step.name, step.name, lambda cpus, workers: cpu_parts(step, on_s3, startup, cpus))

    def _training_step(self, step: TrainingStep) -> StepEstimate:
        figures = training_figures(step, self.planning, self.pilot, self.flops)
        self.training = figures
        self.missing += figures.missing
        batch, workers = step.settings.global_batch_size, step.settings.num_workers
        parts = None if figures.missing else lambda cpus, workers: training_parts(batch, figures, workers)
        return StepEstimate("training", "training", parts, workers, "process", int(step.on_gpu), "training", True)

    def _phase(self, phase: Phase) -> StepEstimate:
        pool, tokens = phase.pool, [row_tokens(table, self.planning, self.pilot) for table in phase.tables]
        self.tables += [(table, pool, of_row) for table, of_row in zip(phase.tables, tokens, strict=True)]
        figures = self._engine_figures(phase, tokens)
        parts = partial(engine_parts, figures) if figures else None
        part: Literal["synthesis", "judges"] = "synthesis" if pool == self.engine else "judges"
        group, gpus = phase.concurrency_group, pool.gpus_per_replica
        return StepEstimate(phase.name, group, parts, pool.replicas, "replica", gpus, part, pool.is_local)

    def _engine_figures(self, phase: Phase, tokens: list[RowTokens]) -> EngineFigures | None:
        """Return what a phase's time follows from; None if something is missing, which is noted."""
        parts: list[tuple[Draws, ReplyLengths]] = []
        prompts, shards, is_engine = constant(0), constant(0), phase.pool == self.engine
        for table, of_row in zip(phase.tables, tokens, strict=True):
            if of_row.lengths is None:
                self.missing.append(
                    f"{table.kind}: tokens per reply are not known; give planning.{table.kind}.output_tokens"
                )
            elif table.rows is not None:
                parts.append((table.rows, of_row.lengths))
                shards = shards + shard_count(table.rows)
                if of_row.prompt is not None and of_row.cached is not None:
                    prompts = prompts + table.rows * (of_row.prompt - of_row.cached)
        if len(parts) < len(tokens):
            return None
        rows, cost = sum((number for number, _ in parts), constant(0)), batch_cost(phase.pool)
        outputs = [number * lengths.mean for number, lengths in parts]
        rate = given_rate(phase, self.planning, is_engine, outputs)
        if rate is not None:
            prompts = constant(0)  # a given speed includes the prompts
        elif self.pilot:
            rate = measured_rate(phase, self.pilot, cost)
            self._check_pilot(phase, self.pilot)
        if rate is None:
            keys = ["planning.tokens_per_second"] * is_engine
            keys.append(f"planning.{phase.tables[0].kind}.tokens_per_second")
            self.missing.append(f"{phase.name}: the speed of {phase.pool.model} is not known; give {' or '.join(keys)}")
            return None
        return EngineFigures(
            rows, shards, ReplyLengths.mixture(parts), prompts / rows, rate, self._startup(phase), cost
        )

    def _check_pilot(self, phase: Phase, pilot: Pilot) -> None:
        pool, seen = phase.pool, pilot.like(*phase.tables)
        # A trained model is in its own run's folder.
        others = {table.model for table in seen if table.model.rpartition("/")[2] != pool.model.rpartition("/")[2]}
        if others:
            self.notes.append(f"{phase.name}: the pilot's model was {', '.join(sorted(others))}, not {pool.model}.")
        rows = [sum(other.rows for other in pilot.filled_with(table)) / table.engines for table in seen]
        if pool.is_local and rows and max(rows) < pool.max_concurrency:
            self.notes.append(
                f"{phase.name}: the pilot's engine had {max(rows):,.0f} rows, and runs up to {pool.max_concurrency:,} "
                "at a time; a pilot with more rows measures its full speed better."
            )

    def _startup(self, phase: Phase) -> Draws:
        if not phase.pool.is_local or phase.concurrency_group == "judgments":  # the judges are running by then
            return constant(0)
        if self.planning.startup_seconds is not None:
            return constant(self.planning.startup_seconds)
        if self.pilot:  # a fleet's start-up is in no manifest: that of any engine is as good a guess
            for tables in (self.pilot.like(*phase.tables), self.pilot.tables.values()):
                if seen := max((float(table.manifest["startup_seconds"]) for table in tables), default=0.0):
                    return lognormal(seen, STARTUP_SPREAD, f"start-up {phase.name}")
        self.missing.append(
            f"{phase.name}: the start-up time of its engine is not known and not counted; give planning.startup_seconds"
        )
        return constant(0)

"""A plan in numbers with intervals, as it is printed and as JSON."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from factory.config import Gpus
from factory.planning.bottlenecks import total
from factory.planning.estimate import Estimate, StageFigures, Step
from factory.planning.pilot import Pilot
from factory.planning.prices import Prices
from factory.planning.training_cost import CHECKPOINT_BYTES, WEIGHT_BYTES
from factory.planning.uncertainty import Draws, Range, exactly, give_or_take, range_of

SCRATCH = 1.5
"""Spilled rows lie beside the table that they become, until it is there."""
BYTES_PER_ROW = {
    "personas": 200, "instructions": 900, "assignments": 400, "profiles": 900, "dialogues": 1500, "curated": 1700,
    "packed": 3000, "evaluation": 1000,
}  # fmt: skip
"""Of Parquet, where no pilot says it: runs of the demo and of 6,000 scripted profiles have about so many."""
BYTES_SPREAD = 0.2


@dataclass(frozen=True)
class StageLine:
    """A table that a model makes: rows, calls, and tokens over all rows."""

    table: str
    model: str
    rows: Range | None
    calls: Range | None
    prompt_tokens: Range | None
    cached_tokens: Range | None
    output_tokens: Range | None
    basis: str


@dataclass(frozen=True)
class StepLine:
    """A part of the run: seconds, GPUs and GPU hours."""

    name: str
    moment: str
    workers: int
    gpus: int
    gpu: str
    """Their kind; empty where there are none."""
    seconds: Range | None
    gpu_hours: Range | None
    parts: dict[str, float]
    """The best value of each part of its time, by limit."""


@dataclass(frozen=True)
class Summary:
    """The whole of a plan."""

    stages: tuple[StageLine, ...]
    steps: tuple[StepLine, ...]
    seconds: Range
    gpu_hours: Range
    gpu_cost: Range
    gpu_cost_spot: Range | None
    endpoint_cost: Range | None
    """None where an endpoint's price or tokens are not known."""
    storage_bytes: Range
    storage_cost_a_month: Range
    complete: bool
    """Whether every step is known, so that the sums are of all."""


def summarise(plan: Estimate, prices: Prices, kinds: Gpus, pilot: Pilot | None, cpus: float) -> Summary:
    """Every number of a plan.

    Raises:
        ConfigError: the price table does not have a kind of GPU.
    """
    seconds = {step.name: total(step.parts(cpus, step.workers)) for step in plan.steps if step.parts}
    hours = {step.name: _hours(step, seconds[step.name]) for step in plan.steps if step.name in seconds}
    of_part, kind_of = prices.gpus(kinds), kinds.model_dump()
    used = [
        (hours[step.name], of_part[step.part]) for step in plan.steps if step.name in hours and step.gpus_per_worker
    ]
    spot = [taken * price.spot for taken, price in used if price.spot is not None]
    stored = storage_bytes(plan, pilot)
    endpoints = endpoint_cost(plan, prices)
    return Summary(
        stages=tuple(map(stage_line, plan.stages)),
        steps=tuple(
            StepLine(
                step.name,
                step.moment,
                step.workers,
                step.workers * step.gpus_per_worker,
                kind_of[step.part] if step.gpus_per_worker else "",
                range_of(seconds[step.name]) if step.parts else None,
                range_of(hours[step.name]) if step.parts else None,
                {name: float(part[0]) for name, part in step.parts(cpus, step.workers).items()} if step.parts else {},
            )
            for step in plan.steps
        ),
        seconds=range_of(wall_seconds(plan.steps, seconds)),
        gpu_hours=range_of(sum(hours.values(), exactly(0))),
        gpu_cost=range_of(sum((taken * price.on_demand for taken, price in used), exactly(0))),
        gpu_cost_spot=range_of(sum(spot, exactly(0))) if len(spot) == len(used) else None,
        endpoint_cost=None if endpoints is None else range_of(endpoints),
        storage_bytes=range_of(stored),
        storage_cost_a_month=range_of(stored / 2**30 * prices.storage_gib_month),
        complete=all(step.parts for step in plan.steps),
    )


def wall_seconds(steps: Sequence[Step], seconds: dict[str, Draws]) -> Draws:
    """From beginning to end: of the steps of one moment the slowest counts."""
    whole = exactly(0)
    for _, together in groupby(steps, key=lambda step: step.moment):
        known = [seconds[step.name] for step in together if step.name in seconds]
        if known:
            whole = whole + np.maximum.reduce(known)
    return whole


def _hours(step: Step, seconds: Draws) -> Draws:
    return seconds * step.workers * step.gpus_per_worker / 3600


def stage_line(figures: StageFigures) -> StageLine:
    """What a stage takes over all of its rows."""
    stage, tokens = figures.stage, figures.tokens

    def over_rows(a_row: Draws | None) -> Range | None:
        return None if stage.rows is None or a_row is None else range_of(stage.rows * a_row)

    return StageLine(
        table=stage.table,
        model=figures.crew.model,
        rows=over_rows(exactly(1)),
        calls=over_rows(exactly(stage.calls_a_row)),
        prompt_tokens=over_rows(tokens.prompt),
        cached_tokens=over_rows(tokens.cached),
        output_tokens=over_rows(tokens.lengths.mean if tokens.lengths else None),
        basis=tokens.basis,
    )


def endpoint_cost(plan: Estimate, prices: Prices) -> Draws | None:
    """What is paid for tokens; None where that is not known."""
    cost = exactly(0)
    for figures in plan.stages:
        if figures.crew.kind != "openai":
            continue
        stage, tokens, price = figures.stage, figures.tokens, prices.million_tokens.get(figures.crew.model)
        if price is None or stage.rows is None or tokens.lengths is None or tokens.prompt is None:
            return None
        cost = cost + stage.rows * (tokens.prompt * price.prompt + tokens.lengths.mean * price.output) / 1e6
    return cost


def storage_bytes(plan: Estimate, pilot: Pilot | None) -> Draws:
    """What the run leaves behind, and at most has besides while it works."""
    tables: dict[str, Draws | None] = {intake.table: intake.rows for intake in plan.outline.intakes}
    tables |= {pairing.table: pairing.rows for pairing in plan.outline.pairings}
    tables |= {figures.stage.table: figures.stage.rows for figures in plan.stages}
    if plan.outline.curated:
        tables["curated/train"] = plan.outline.dialogues
    if plan.outline.training:
        tables["packed/train"] = plan.outline.training.dialogues
    stored = exactly(0)
    for table, rows in tables.items():
        if rows is not None:
            stored = stored + rows * _bytes_per_row(table, pilot)
    spread = give_or_take(1, BYTES_SPREAD, "bytes")
    stored = stored * SCRATCH * spread
    training, known = plan.outline.training, plan.training
    if training and known and known.parameters:
        kept = training.save_total_limit + 2  # the best one besides, and one that is being written
        stored = stored + known.parameters * (kept * CHECKPOINT_BYTES + WEIGHT_BYTES)
    return stored


def _bytes_per_row(table: str, pilot: Pilot | None) -> float:
    seen = pilot.tables.get(table) if pilot else None
    if seen and seen.rows:
        return seen.bytes / seen.rows
    return float(BYTES_PER_ROW[table.partition("/")[0]])

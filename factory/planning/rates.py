"""Tokens per row and engine throughput: values of the config, else the pilot's measurements."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from factory.config import Planning, StageFigures
from factory.planning.batching import BatchCost, ReplyLengths, decode_steps, engine_work
from factory.planning.pilot import Pilot, PilotTable
from factory.planning.uncertainty import DRAWS, Draws, bootstrap_weights, constant, lognormal, uniform
from factory.planning.workload import GeneratedTable, Phase, ReplicaPool

RATE_SPREAD = 0.08
"""Relative difference between two runs of one engine: `tests/benchmarks/throughput.py` measured 2 to 8 percent."""
STARTUP_SPREAD = 0.15
PREFILL = (0.1, 0.2, 0.35)
"""Cost of a prompt token that is computed, in generated ones. Measured on a CPU: 0.16 (384 dialogues of 64 characters
at 5.5 rows per second with the prefix cache and 2.9 without); by FLOPs on eight H100s with 70B: 0.3."""
FIXED_ON_CPU = (0.1, 0.2, 0.4)
"""Part of a full step that a single row takes too; 0.19 fits the steps of the demo's run."""
FIXED_ON_GPU = (0.25, 0.45, 0.75)
"""Published steps of an 8B model on an H100, 10.8, 11.6 and 13.0 ms with 1, 8 and 32 rows, give 0.36 at 256 rows
and 0.7 at 64."""
UNKNOWN = "not known"


@dataclass(frozen=True)
class RowTokens:
    """Tokens of a row of a table; None where they are not known."""

    lengths: ReplyLengths | None
    prompt: Draws | None
    cached: Draws | None
    """The part of the prompt that the prefix cache serves."""
    basis: str
    """Where the numbers come from, in words."""


def given_figures(planning: Planning, table: GeneratedTable) -> StageFigures:
    """Return what the config gives for a table's kind."""
    figures: StageFigures = getattr(planning, table.kind)
    return figures


def row_tokens(table: GeneratedTable, planning: Planning, pilot: Pilot | None) -> RowTokens:
    """Return the tokens per row: the config's, else the pilot's with a bootstrap over its rows."""
    given, seen = given_figures(planning, table), pilot.like(table) if pilot else []
    lengths = prompt = cached = None
    basis = UNKNOWN
    if seen:
        prompts, outputs, hits = np.hstack([other.sample for other in seen])
        weights = bootstrap_weights(len(outputs), table.name)
        lengths, prompt, cached = ReplyLengths.from_sample(outputs, weights), weights @ prompts, weights @ hits
        names = [other.table.name.rpartition("/")[2] for other in seen[:3]] + ["..."] * (len(seen) > 3)
        source = "" if seen[0].table.name == table.name else f"'s {', '.join(names)}"
        basis = f"{len(outputs):,} rows of the pilot{source}"
    if given.output_tokens:
        lengths = ReplyLengths(np.array([given.output_tokens]), np.ones((1 + DRAWS, 1)))
        basis = "given, as one number, which has no tail of long replies"
    if given.prompt_tokens:
        prompt = constant(given.prompt_tokens)
        cached = constant(0) if cached is None else np.minimum(cached, prompt)
    return RowTokens(lengths, prompt, cached, basis)


def batch_cost(pool: ReplicaPool) -> BatchCost:
    """Return how the time per step of an engine grows with the rows in its batch."""
    if not pool.is_local:  # an endpoint serves many more rows than ours; scripted replies take no time
        return BatchCost(pool.max_concurrency, constant(pool.kind == "openai"), constant(0))
    fixed = FIXED_ON_GPU if pool.gpus_per_replica else FIXED_ON_CPU
    name = f"fixed {pool.gpus_per_replica > 0}"
    return BatchCost(pool.max_concurrency, uniform(*fixed, name), uniform(*PREFILL, "prefill"))


def given_rate(phase: Phase, planning: Planning, is_engine: bool, outputs: Sequence[Draws]) -> Draws | None:
    """Return the throughput that the config gives, over all tables of a phase; None if one has none.

    Args:
        phase: its tables.
        planning: the config's section.
        is_engine: whether the phase runs on the config's `engine`.
        outputs: generated tokens of each table.
    """
    rates = [
        given_figures(planning, table).tokens_per_second or (is_engine and planning.tokens_per_second)
        for table in phase.tables
    ]
    if not all(rates):
        return None
    seconds = sum((tokens / float(rate or 1) for tokens, rate in zip(outputs, rates, strict=True)), constant(0))
    return sum(outputs, constant(0)) / seconds * lognormal(1, RATE_SPREAD, f"rate {phase.name}")


def measured_rate(phase: Phase, pilot: Pilot, cost: BatchCost) -> Draws | None:
    """Return the throughput at full batch of the pilot's engine, its tail taken out; None if it did none of this."""
    work, seconds = constant(0), 0.0
    for first in {table.engine_run: table for table in pilot.like(*phase.tables)}.values():
        group = pilot.filled_with(first)
        work = work + _pilot_work(group, cost)
        seconds += max(table.engine_seconds for table in group)
    if seconds <= 0 or work[0] <= 0:
        return None
    return work / seconds * lognormal(1, RATE_SPREAD, f"rate {phase.name}")


def _pilot_work(group: Sequence[PilotTable], cost: BatchCost) -> Draws:
    """Return the work of all engines of the pilot for tables that they filled at once."""
    engines = max(table.engines for table in group)
    parts, computed, rows = [], 0.0, 0.0
    for table in group:
        written, (prompts, outputs, cached) = float(table.manifest["rows_this_run"]), table.sample
        if written and len(outputs):
            even = np.full((1 + DRAWS, len(outputs)), 1 / len(outputs))
            parts.append((constant(written), ReplyLengths.from_sample(outputs, even)))
            computed += written * float(np.mean(prompts - cached))
            rows += written
    if not parts:
        return constant(0)
    lengths, per_engine = ReplyLengths.mixture(parts), constant(rows / engines)
    one_batch = rows <= cost.max_concurrency and engines == 1
    # If all rows ran at once, the longest reply is known and need not be expected.
    steps = constant(lengths.values[-1]) if one_batch else decode_steps(lengths, per_engine, cost.max_concurrency)
    return engines * engine_work(lengths, constant(computed / rows), per_engine, cost, steps)

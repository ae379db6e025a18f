"""The numbers of an estimate with their intervals, as they are printed and written as JSON."""

from itertools import groupby
from typing import Any

import numpy as np

from factory.config import Gpus
from factory.planning.bottlenecks import total
from factory.planning.estimate import Estimate
from factory.planning.pilot import Pilot
from factory.planning.prices import Prices
from factory.planning.uncertainty import Draws, Interval, constant, interval, lognormal
from factory.planning.workload import CpuStep, TrainingStep

TEMPORARY_FACTOR = 1.5
"""Spilled rows are stored beside the table that they become, until it is finished."""
BYTES_PER_ROW = {
    "personas": 200, "instructions": 900, "assignments": 400, "profiles": 900, "dialogues": 1500, "curated": 1700,
    "packed": 3000, "evaluation": 1000,
}  # fmt: skip
"""Of Parquet, without a pilot: about as in runs of the demo and of 6,000 scripted profiles."""
BYTES_SPREAD = 0.2
CHECKPOINT_BYTES = 14
"""Per parameter in a checkpoint: weights in bfloat16, and in float32 the weights and Adam's two moments."""
WEIGHT_BYTES = 2


def summarize(plan: Estimate, prices: Prices, kinds: Gpus, pilot: Pilot | None, cpus: float) -> dict[str, Any]:
    """Return every number of a plan.

    Returns:
        `stages`: the tables that a model writes, with rows, calls and tokens; `steps`: with seconds, GPUs and the
        best estimate of their seconds by limit (`parts`); totals of time, GPU hours, cost and storage as `Interval`s,
        None if they are not known; `complete`: whether every step is known, so that the totals are of all.

    Raises:
        ConfigError: the price table does not have a kind of GPU.
    """
    seconds, hours, cost, spot = constant(0), constant(0), constant(0), constant(0)
    by_part, kind_of_part, steps, has_spot = prices.gpus(kinds), kinds.model_dump(), [], True
    for _, group in groupby(plan.steps, key=lambda step: step.concurrency_group):
        slowest = constant(0)
        for step in group:
            gpus, price = step.workers * step.gpus_per_worker, by_part[step.part]
            parts = step.parts(cpus, step.workers) if step.parts else {}
            taken = total(parts) if parts else constant(0)
            used = taken * gpus / 3600
            slowest, hours, cost = np.maximum(slowest, taken), hours + used, cost + used * price.on_demand
            spot, has_spot = spot + used * (price.spot or 0), has_spot and (not gpus or price.spot is not None)
            steps.append({
                "name": step.name, "workers": step.workers, "unit": step.unit, "gpus": gpus,
                "gpu": kind_of_part[step.part] if gpus else "",
                "seconds": interval(taken) if parts else None, "gpu_hours": interval(used) if parts else None,
                "parts": {name: float(part[0]) for name, part in parts.items()},
            })  # fmt: skip
        seconds = seconds + slowest
    stored, endpoints = _storage_bytes(plan, pilot), _endpoint_cost(plan, prices)
    return {
        "stages": _tables(plan),
        "steps": steps,
        "seconds": interval(seconds),
        "gpu_hours": interval(hours),
        "gpu_cost": interval(cost),
        "gpu_cost_spot": interval(spot) if has_spot else None,
        "endpoint_cost": None if endpoints is None else interval(endpoints),
        "storage_bytes": interval(stored),
        "storage_cost_per_month": interval(stored / 2**30 * prices.storage_gib_month),
        "complete": all(step.parts for step in plan.steps),
    }


def _tables(plan: Estimate) -> list[dict[str, Any]]:
    tables = []
    for table, pool, tokens in plan.tables:

        def over_rows(per_row: Draws | None, rows: Draws | None = table.rows) -> Interval | None:
            return None if rows is None or per_row is None else interval(rows * per_row)

        tables.append({
            "table": table.name, "model": pool.model, "rows": over_rows(constant(1)),
            "calls": over_rows(constant(table.calls_per_row)), "prompt_tokens": over_rows(tokens.prompt),
            "cached_tokens": over_rows(tokens.cached),
            "output_tokens": over_rows(tokens.lengths.mean if tokens.lengths else None), "basis": tokens.basis,
        })  # fmt: skip
    return tables


def _endpoint_cost(plan: Estimate, prices: Prices) -> Draws | None:
    """Return the price of the endpoints' tokens; None if it is not known."""
    cost = constant(0)
    for table, pool, tokens in plan.tables:
        if pool.kind == "openai":
            price = prices.million_tokens.get(pool.model)
            if price is None or table.rows is None or tokens.lengths is None or tokens.prompt is None:
                return None
            cost = cost + table.rows * (tokens.prompt * price.prompt + tokens.lengths.mean * price.output) / 1e6
    return cost


def _storage_bytes(plan: Estimate, pilot: Pilot | None) -> Draws:
    """Return the most that the run stores at a time."""
    stored, weights = constant(0), constant(0)
    tables = [(table.name, table.rows) for table, _, _ in plan.tables]
    for step in plan.workload.steps:
        if isinstance(step, CpuStep):
            tables.append((step.table, step.rows))
        elif isinstance(step, TrainingStep) and plan.training and plan.training.parameters:
            kept = step.settings.save_total_limit + 2  # the best one besides, and one that is being written
            weights = weights + plan.training.parameters * (kept * CHECKPOINT_BYTES + WEIGHT_BYTES)
    for name, rows in tables:
        seen = pilot.tables.get(name) if pilot else None
        per_row = seen.bytes / seen.rows if seen and seen.rows else float(BYTES_PER_ROW[name.partition("/")[0]])
        stored = stored if rows is None else stored + rows * per_row
    return stored * TEMPORARY_FACTOR * lognormal(1, BYTES_SPREAD, "bytes") + weights

"""The numbers of a plan with their intervals, and the same run on clusters of other sizes, as printed and as JSON."""

from collections import defaultdict
from itertools import groupby
from typing import Any

import numpy as np

from factory.config import Gpus
from factory.planning import constants as c
from factory.planning.plan_steps import REMEDIES, GeneratedTable, Limit, Step
from factory.planning.planner import Planner
from factory.planning.prices import Prices
from factory.planning.uncertainty import UNKNOWN, Draws, constant, interval, lognormal

SIZES = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)


def summarize(plan: Planner, prices: Prices, kinds: Gpus, cpus: float) -> dict[str, Any]:
    """Return every number of a plan.

    Returns:
        `stages`: the tables that a model writes, with rows, calls and tokens; `steps`: with seconds, GPUs and the
        best estimate of their seconds by limit (`parts`); totals of time, GPU hours, cost and storage as `Interval`s,
        None if they are not known; `complete`: whether every step is known, so that the totals are of all.

    Raises:
        ConfigError: the price table does not have a kind of GPU.
    """
    seconds, hours, cost, spot = constant(0), constant(0), constant(0), constant(0)
    by_part, kind_of_part, steps = prices.gpus(kinds), kinds.model_dump(), []
    for group in _groups(plan):
        slowest = constant(0)
        for step in group:
            gpus, price = step.workers * step.gpus_per_worker, by_part[step.part]
            parts = step.parts(cpus, step.workers)
            taken = np.sum(list(parts.values()), axis=0)
            known, used = np.nan_to_num(taken), np.nan_to_num(taken) * gpus / 3600
            slowest, hours, cost = np.maximum(slowest, known), hours + used, cost + used * price.on_demand
            spot = spot + used * (price.spot if price.spot is not None else np.nan) if gpus else spot
            steps.append({
                "name": step.name, "workers": step.workers, "unit": step.unit, "gpus": gpus,
                "gpu": kind_of_part[step.part] if gpus else "",
                "seconds": interval(taken), "gpu_hours": interval(taken * gpus / 3600),
                "parts": {} if np.isnan(taken[0]) else {name: float(part[0]) for name, part in parts.items()},
            })  # fmt: skip
        seconds = seconds + slowest
    stored = _storage_bytes(plan)
    return {
        "stages": [
            {
                "table": table.name, "model": table.pool.model, "rows": interval(table.rows),
                "calls": interval(table.rows * table.calls_per_row),
                "prompt_tokens": interval(table.rows * table.prompt),
                "cached_tokens": interval(table.rows * table.cached),
                "output_tokens": interval(table.rows * table.output),
            }
            for table in plan.tables
        ],
        "steps": steps, "complete": all(step["seconds"] for step in steps),
        "seconds": interval(seconds), "gpu_hours": interval(hours),
        "gpu_cost": interval(cost), "gpu_cost_spot": interval(spot),
        "endpoint_cost": interval(_endpoint_cost(plan)), "storage_bytes": interval(stored),
        "storage_cost_per_month": interval(stored / 2**30 * prices.storage_gib_month),
    }  # fmt: skip


def _groups(plan: Planner) -> list[list[Step]]:
    """Return the steps that run at the same time."""
    return [list(group) for _, group in groupby(plan.steps, key=lambda step: step.concurrency_group)]


def _endpoint_cost(plan: Planner) -> Draws:
    """Return the price of the endpoints' tokens."""
    cost = constant(0)
    for table in plan.tables:
        if table.pool.kind == "openai":
            cost = cost + (table.rows * _row_cost(table) if table.pool.prices else UNKNOWN)
    return cost


def _row_cost(table: GeneratedTable) -> Draws:
    prices, cached = table.pool.prices, np.nan_to_num(table.cached)
    assert prices is not None
    price_of_cached = prices.input if prices.cached is None else prices.cached
    cost: Draws = (
        (table.prompt - cached) * prices.input + cached * price_of_cached + table.output * prices.output
    ) / 1e6
    return cost


def _storage_bytes(plan: Planner) -> Draws:
    """Return the most that the run stores at a time."""
    stored = constant(0)
    for name, rows in plan.rows.items():
        seen = plan.pilot.tables.get(name)
        per_row = seen.bytes / seen.rows if seen and seen.rows else c.BYTES_PER_ROW[name.partition("/")[0]]
        stored = stored + np.nan_to_num(rows * per_row)
    return stored * c.TEMPORARY_FACTOR * lognormal(1, c.BYTES_SPREAD, "bytes") + plan.weight_bytes


def simulate(plan: Planner, cpus: float) -> dict[str, Any]:
    """Estimate the run on clusters of all sizes; `cpus` come with a replica where there are no GPUs.

    Returns:
        `unit`: what the sizes count, GPUs or replicas; `needs`: the smallest cluster that can do all of it; `sizes`:
        see `_scaled`; `turns`: from which size on another limit dominates, and what helps, in words; `left_out`: steps
        that are not known, and so are not included.
    """
    groups = _groups(plan)
    on_gpus = any(step.gpus_per_worker for step in plan.steps)
    needs = max(1, *(sum(step.gpus_per_worker for step in group if step.scales) for group in groups))
    unknown = [step for step in plan.steps if np.isnan(sum(part[0] for part in step.parts(cpus, 1).values()))]
    known = any(step.scales and step not in unknown for step in plan.steps)
    cores = {size: max(cpus, size * c.CPUS_PER_GPU) if on_gpus else cpus * size for size in SIZES}
    runs = [_scaled(groups, size, cores[size]) for size in SIZES if known and size >= needs]
    turns = [
        f"From {run['size']:,} on: {run['limit']} ({run['step']}). {REMEDIES[run['limit']]}."
        for before, run in zip([{"limit": ""}, *runs], runs, strict=False)
        if run["limit"] != before["limit"] and run["limit"] in REMEDIES
    ]
    unit, left_out = "GPUs" if on_gpus else "replicas", [step.name for step in unknown]
    return {"unit": unit, "needs": needs, "sizes": runs, "turns": turns, "left_out": left_out}


def _scaled(groups: list[list[Step]], size: int, cores: float) -> dict[str, Any]:
    """Return the run on a cluster of one size.

    Returns:
        `size`, `seconds`; `hours_of_parts`: GPU hours of synthesis, judges and training, which may use different GPUs;
        `limit`: what it waits for longest, `step`: the step that does so longest, and `share`: the part of all seconds.
    """
    waiting: dict[tuple[Limit, str], float] = defaultdict(float)
    by_limit: dict[Limit, float] = defaultdict(float)
    hours: dict[str, float] = defaultdict(float)
    for group in groups:
        sharing, slowest = max(1, sum(step.scales for step in group)), dict[tuple[Limit, str], float]()
        for step in group:
            workers = max(1, size // sharing // max(step.gpus_per_worker, 1)) if step.scales else step.workers
            parts = {(limit, step.name): float(part[0]) for limit, part in step.parts(cores, workers).items()}
            if (seconds := sum(parts.values())) >= 0:  # it is known
                hours[step.part] += seconds * workers * step.gpus_per_worker / 3600
                slowest = max(slowest, parts, key=lambda one: sum(one.values()))
        for (limit, name), seconds in slowest.items():
            waiting[limit, name] += seconds
            by_limit[limit] += seconds
    most, whole = max(by_limit, key=lambda limit: by_limit[limit]), sum(by_limit.values())
    longest = max((pair for pair in waiting if pair[0] == most), key=lambda pair: waiting[pair])[1]
    share = by_limit[most] / max(whole, 1e-9)
    return {
        "size": size, "seconds": whole, "hours_of_parts": dict(hours), "limit": most, "step": longest, "share": share
    }  # fmt: skip

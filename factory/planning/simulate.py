"""The same run on clusters of 1 to 1,000 GPUs: how long it takes, and what it waits for longest."""

from collections import defaultdict
from dataclasses import dataclass
from itertools import groupby

from factory.planning import bottlenecks
from factory.planning.bottlenecks import total, waits
from factory.planning.estimate import Estimate, StepEstimate

SIZES = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
CPUS_PER_GPU = 12
"""Cores that come with a GPU: 12 in a node of eight A100s, 24 in one of eight H100s."""
REMEDIES = {
    bottlenecks.START: "It takes as long on any cluster: use a larger run, or engines that are kept up",
    bottlenecks.TAIL: "The longest replies end last: lower max_tokens, or use fewer replicas",
    bottlenecks.SHARDS: "A table has about 1,024 shards, and a replica takes whole ones: use fewer replicas",
    bottlenecks.READING: "A task reads one file, and all files under a limit: give many files and no limit",
    bottlenecks.REQUESTS: "Every partition is read from every spilled file: split the run",
    bottlenecks.DRIVER: "One driver starts every task: split the run",
    bottlenecks.BATCH: "A step has global_batch_size sequences: raise it, or use fewer training processes",
}
"""What helps against the limits that more GPUs do not remove."""


@dataclass(frozen=True)
class ScaledRun:
    """The run on a cluster of one size."""

    size: int
    seconds: float
    hours_of_parts: dict[str, float]
    """GPU hours of synthesis, judges and training, which may use different GPUs."""
    limit: str
    """What it waits for longest."""
    step: str
    """The step that waits for the limit longest."""
    share: float
    """The part of all seconds that waits for the limit."""


@dataclass(frozen=True)
class Simulation:
    """How the run scales."""

    unit: str
    """What the sizes count: GPUs or replicas."""
    needs: int
    """The smallest cluster that can do all of it."""
    sizes: tuple[ScaledRun, ...]
    turns: tuple[str, ...]
    """From which size on another limit dominates, and what helps, in words."""
    left_out: tuple[str, ...]
    """Steps that are not known, and so are not included."""


def simulate(plan: Estimate, cpus: float) -> Simulation:
    """Estimate the run on clusters of all sizes; `cpus` come with a replica where there are no GPUs."""
    groups = [list(group) for _, group in groupby(plan.steps, key=lambda step: step.concurrency_group)]
    on_gpus = any(step.gpus_per_worker for step in plan.steps)
    needs = max(1, *(sum(step.gpus_per_worker for step in group if step.scales) for group in groups))
    known = any(step.parts for step in plan.steps if step.scales)
    cores = {size: max(cpus, size * CPUS_PER_GPU) if on_gpus else cpus * size for size in SIZES}
    runs = tuple(_scaled(groups, size, cores[size]) for size in SIZES if known and size >= needs)
    turns = []
    for before, run in zip((None, *runs), runs, strict=False):
        if (before is None or run.limit != before.limit) and run.limit in REMEDIES:
            turns.append(f"From {run.size:,} on: {run.limit} ({run.step}). {REMEDIES[run.limit]}.")
    unknown = tuple(step.name for step in plan.steps if step.parts is None)
    return Simulation("GPUs" if on_gpus else "replicas", needs, runs, tuple(turns), unknown)


def _scaled(groups: list[list[StepEstimate]], size: int, cores: float) -> ScaledRun:
    waiting: dict[tuple[str, str], float] = defaultdict(float)
    by_limit: dict[str, float] = defaultdict(float)
    hours: dict[str, float] = defaultdict(float)
    for group in groups:
        sharing, estimates = max(1, sum(step.scales for step in group)), []
        for step in group:
            if step.parts is not None:
                workers = max(1, size // sharing // max(step.gpus_per_worker, 1)) if step.scales else step.workers
                parts = step.parts(cores, workers)
                seconds = float(total(parts)[0])
                hours[step.part] += seconds * workers * step.gpus_per_worker / 3600
                estimates.append((seconds, step.name, parts))
        if estimates:
            _, name, parts = max(estimates, key=lambda estimate: estimate[0])
            for limit, seconds in waits(parts).items():
                waiting[limit, name] += seconds
                by_limit[limit] += seconds
    limit, whole = max(by_limit, key=lambda name: by_limit[name]), sum(by_limit.values())
    longest = max((pair for pair in waiting if pair[0] == limit), key=lambda pair: waiting[pair])[1]
    return ScaledRun(size, whole, dict(hours), limit, longest, by_limit[limit] / max(whole, 1e-9))

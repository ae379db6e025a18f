"""The same run on 1 to 1,000 GPUs: how long it takes, and what it waits for most."""

from collections import defaultdict
from dataclasses import dataclass, field
from itertools import groupby

from factory.planning import bottlenecks
from factory.planning.bottlenecks import BESIDE, START, Parts, total
from factory.planning.estimate import Estimate, Step

SIZES = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
CPUS_PER_GPU = 12
"""Cores that come with a GPU: 12 in a node of eight A100s, 24 in one of eight H100s."""
SCALING = (bottlenecks.ENGINE, bottlenecks.TRAINING)
"""What more GPUs help against; all other limits stay, or grow."""
WAYS_OUT = {
    bottlenecks.START: "Starting takes as long on any cluster: a larger run, or a standing one, makes it matter less",
    bottlenecks.TAIL: "The last long replies: lower max_tokens, or take fewer replicas",
    bottlenecks.SHARDS: "A table has about 1,024 shards, and a replica takes whole ones: take fewer replicas",
    bottlenecks.READING: "A task reads a file, or all files where there is a limit: give many files and no limit",
    bottlenecks.REQUESTS: "Every partition is read out of every spilled file: part the run in several",
    bottlenecks.DRIVER: "One driver places every task: part the run in several",
    bottlenecks.BATCH: "A step has global_batch_size sequences: raise it, or take fewer training processes",
}


@dataclass(frozen=True)
class Scaled:
    """The run on a cluster of one size; the limit is what it waits for longest."""

    size: int
    seconds: float | None
    """None where an engine's replica does not fit."""
    gpu_hours: float = 0.0
    hours_of_parts: dict[str, float] = field(default_factory=dict)
    """GPU hours of synthesis, judges and training, whose GPUs may be of several kinds."""
    limit: str = ""
    step: str = ""
    """The step that waits for the limit longest."""
    share: float = 0.0
    """Of all seconds, those that wait for the limit."""


@dataclass(frozen=True)
class Simulation:
    """How the run scales; `unit` is what is counted, and `needs` the smallest cluster that can do all of it.

    `left_out` are the steps that are not known and not in it.
    """

    unit: str
    needs: int
    sizes: tuple[Scaled, ...]
    turns: tuple[str, ...]
    """Where another limit begins, in words."""
    left_out: tuple[str, ...]
    ids: str
    """What ids take in memory, in words."""


def simulate(plan: Estimate, cpus: float) -> Simulation:
    """Run the plan on clusters of all sizes."""
    on_gpus = any(step.gpus_per_worker for step in plan.steps)
    some = any(step.parts for step in plan.steps if step.scales)
    fits = tuple(_scaled(plan, size, cpus, on_gpus) for size in SIZES if some)
    needs = max((_needed(together) for together in _moments(plan)), default=1)
    unknown = tuple(step.name for step in plan.steps if step.parts is None)
    return Simulation("GPUs" if on_gpus else "replicas", needs, fits, _turns(fits), unknown, _ids(plan))


def _moments(plan: Estimate) -> list[list[Step]]:
    return [list(together) for _, together in groupby(plan.steps, key=lambda step: step.moment)]


def _needed(together: list[Step]) -> int:
    """GPUs that steps of one moment need at least: a worker each."""
    return sum(step.gpus_per_worker for step in together if step.scales)


def _scaled(plan: Estimate, size: int, cpus: float, on_gpus: bool) -> Scaled:
    cores = max(cpus, size * CPUS_PER_GPU) if on_gpus else cpus * size
    waits: dict[tuple[str, str], float] = defaultdict(float)
    hours: dict[str, float] = defaultdict(float)
    for together in _moments(plan):
        if _needed(together) > size:
            return Scaled(size, None)
        slowest: tuple[float, Step, Parts] | None = None
        among = max(1, sum(step.scales for step in together))
        for step in together:
            if step.parts is None:
                continue
            workers = max(1, size // among // max(step.gpus_per_worker, 1)) if step.scales else step.workers
            parts = step.parts(cores, workers)
            seconds = float(total(parts)[0])
            hours[step.part] += seconds * workers * step.gpus_per_worker / 3600
            if slowest is None or seconds > slowest[0]:
                slowest = (seconds, step, parts)
        if slowest:
            for limit, seconds in _waits(slowest[2]).items():
                waits[limit, slowest[1].name] += seconds
    return _told(size, dict(hours), waits)


def _waits(parts: Parts) -> dict[str, float]:
    """The seconds of a step by what it waits for: where something beside its own work is slower, that takes all."""
    best = {name: float(seconds[0]) for name, seconds in parts.items()}
    own = sum(seconds for name, seconds in best.items() if name not in (*BESIDE, START))
    slowest = max((name for name in BESIDE if name in best), key=lambda name: best[name], default="")
    if slowest and best[slowest] > own:
        return {START: best.get(START, 0.0), slowest: best[slowest]}
    return {name: seconds for name, seconds in best.items() if name not in BESIDE}


def _told(size: int, hours: dict[str, float], waits: dict[tuple[str, str], float]) -> Scaled:
    by_limit: dict[str, float] = defaultdict(float)
    for (limit, _), seconds in waits.items():
        by_limit[limit] += seconds
    whole = sum(by_limit.values())
    limit = max(by_limit, key=lambda name: by_limit[name])
    step = max((name for one, name in waits if one == limit), key=lambda name: waits[limit, name])
    return Scaled(size, whole, sum(hours.values()), hours, limit, step, by_limit[limit] / whole if whole else 0.0)


def _turns(sizes: tuple[Scaled, ...]) -> tuple[str, ...]:
    turns, before = [], ""
    for one in sizes:
        if one.seconds is None or one.limit == before:
            continue
        before = one.limit
        if one.limit not in SCALING:
            turns.append(f"From {one.size:,} on: {one.limit} ({one.step}). {WAYS_OUT[one.limit]}.")
    return tuple(turns)


def _ids(plan: Estimate) -> str:
    """Ids are whole objects in one node's memory, whatever the cluster's size: rows decide."""
    cast = [pairing.profiles for pairing in plan.outline.pairings if pairing.profiles is not None]
    if plan.outline.dialogues is None or not cast:
        return ""
    dialogues, sizes = float(plan.outline.dialogues[0]), bottlenecks.IDS_BYTES
    a_dialogue = sizes["draws"] + sizes["dialogues"]
    held = float(cast[0][0]) * sizes["characters"] + dialogues * a_dialogue
    most = bottlenecks.OBJECT_STORE_BYTES / a_dialogue
    return f"Ids in memory: {held / 2**20:,.1f} MiB; a 64 GiB node holds those of {most / 1e6:,.0f} million dialogues."

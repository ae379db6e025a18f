"""Bottlenecks: which resource limits each step, on a number of replicas, cores and an S3 bucket.

`START`, `ENGINE`, `TAIL` and `SHARDS` add up; reading, S3 and the driver work beside the engine, so a step takes as
long as the slowest of them. Every constant is measured or published; measured on 2 cores of a small machine.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from factory.planning.batching import BatchCost, ReplyLengths, engine_work, full_steps
from factory.planning.uncertainty import Draws, constant, uniform
from factory.planning.workload import CpuStep
from factory.storage.shuffle import partitions_for

START, ENGINE, TAIL, SHARDS = "start-up", "engine", "long replies", "whole shards"
READING, REQUESTS, DRIVER = "reading", "S3 requests", "driver"
TRAINING, BATCH = "training", "global batch"
PARALLEL = (READING, REQUESTS, DRIVER)
"""Limits that work beside the engine."""

READ_ROWS_PER_CORE = 500.0
"""Rows per second that a core reads, renders, tokenizes, parses and writes: rendering and tokenizing alone does 1,090;
tokenizing a dialogue and packing it takes about as long."""
TASKS_PER_CORE = 2
"""Our Ray tasks request half a core each, so that two share one while they wait for S3."""
TASKS_PER_SHARD = 3
"""Read and render, generate, parse and write."""
TASK_S = 0.01
"""The driver's part of a Ray task: 640 tasks over 213 shards took 10 ms each where the same cores did the work."""
GETS_PER_SECOND = 5500.0
"""A prefix of S3 takes at least this many (AWS, "Optimizing Amazon S3 performance"); a table is a prefix."""
S3_LATENCY_S = (0.02, 0.1, 0.2)
"""A small object's first byte takes 100 to 200 ms (AWS, the same guide), and less from within the region."""
GETS_PER_BATCH = 4
"""To read one partition from a spilled file: a HEAD and three ranges, counted on an S3 server."""

Parts = dict[str, Draws]
"""Seconds of a step by limit."""


@dataclass(frozen=True)
class EngineFigures:
    """What the time of a phase follows from."""

    rows: Draws
    shards: Draws
    lengths: ReplyLengths
    prompt: Draws
    """Prompt tokens per row that the prefix cache does not serve."""
    rate: Draws
    """Generated tokens per second of one replica at full batch."""
    startup: Draws
    cost: BatchCost


def total(parts: Mapping[str, Draws]) -> Draws:
    """Return the seconds of a step: what adds up, or the slowest of what runs beside it."""
    own = sum((seconds for name, seconds in parts.items() if name not in (*PARALLEL, START)), constant(0))
    slowest: Draws = np.maximum.reduce([own, *(parts[name] for name in PARALLEL if name in parts)])
    return parts.get(START, constant(0)) + slowest


def waits(parts: Parts) -> dict[str, float]:
    """Return the best estimate of a step's seconds by what it waits for; these add up to its total."""
    best = {name: float(seconds[0]) for name, seconds in parts.items()}
    own = sum(seconds for name, seconds in best.items() if name not in (*PARALLEL, START))
    slowest = max((name for name in PARALLEL if name in best), key=lambda name: best[name], default="")
    if slowest and best[slowest] > own:
        return {START: best.get(START, 0.0), slowest: best[slowest]}
    return {name: seconds for name, seconds in best.items() if name not in PARALLEL}


def engine_parts(figures: EngineFigures, cpus: float, replicas: float) -> Parts:
    """Return the parts of a phase's time; a replica takes whole shards, and the most loaded one counts."""
    rows, shards, cost = figures.rows, figures.shards, figures.cost

    def seconds(rows: Draws, tail: bool) -> Draws:
        steps = None if tail else full_steps(figures.lengths, rows, cost.max_concurrency)
        return engine_work(figures.lengths, figures.prompt, rows, cost, steps) / figures.rate

    loaded = rows * np.ceil(shards / replicas) / shards
    even, uneven = seconds(rows / replicas, tail=False), seconds(loaded, tail=False)
    return {
        START: figures.startup,
        ENGINE: even,
        SHARDS: uneven - even,
        TAIL: seconds(loaded, tail=True) - uneven,
        READING: rows / (READ_ROWS_PER_CORE * cpus),
        DRIVER: shards * TASKS_PER_SHARD * TASK_S,
    }


def cpu_parts(step: CpuStep, on_s3: bool, startup: Draws, cpus: float) -> Parts:
    """Return the parts of the time of a step on CPU cores; its rows and files are known."""
    assert step.rows is not None
    assert step.files is not None
    slots, partitions = cpus * TASKS_PER_CORE, constant(0)
    parts = {START: startup, READING: step.rows / (step.rows_per_task * max(1.0, min(step.max_tasks, slots)))}
    if step.bytes_per_row:
        sizes = (step.rows * step.bytes_per_row).tolist()
        partitions = np.array([partitions_for(round(size)) for size in sizes], np.float64)
        if on_s3:  # every partition is read from every spilled file
            gets = GETS_PER_BATCH * step.files * partitions
            latency = uniform(*S3_LATENCY_S, "S3 latency")
            parts[REQUESTS] = np.maximum(gets / GETS_PER_SECOND, gets * latency / np.minimum(partitions, slots))
    return {**parts, DRIVER: (step.files + partitions) * TASK_S}

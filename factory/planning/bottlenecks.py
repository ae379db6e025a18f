"""What holds a step back: the parts of its time by limit, on so many replicas, cores and an S3 bucket.

`START`, `ENGINE`, `TAIL` and `SHARDS` add up; reading, S3 and the driver work beside the engine, so a phase takes as
long as the slowest of them. Every constant is measured or published; where it says so, on 2 cores of a small machine.
"""

from collections.abc import Mapping

import numpy as np

from factory.planning.batching import work_for, work_without_tail
from factory.planning.rates import Known
from factory.planning.uncertainty import Draws, between, exactly
from factory.planning.workload import Intake, Pairing
from factory.storage.shuffle import partitions_for
from factory.storage.tables import rows_per_shard

START, ENGINE, TAIL, SHARDS = "start-up", "engine", "long replies", "whole shards"
READING, REQUESTS, DRIVER = "reading", "S3 requests", "driver"
TRAINING, BATCH = "training", "global batch"
BESIDE = (READING, REQUESTS, DRIVER)
"""Limits that a phase meets while its engine works."""

ROWS_A_CORE = 500.0
"""Rows a second that a core reads, renders, tokenises, parses and writes: rendering and tokenising alone does 1,090."""
INTAKE_ROWS = 20_000.0
"""Rows a second that one task takes out of a file, cleans and spills; cleaning alone does 99,000 short personas."""
CURATION_ROWS_A_CORE = 333.0
"""Rows a second: 3 ms each (`curation/run.py`)."""
PACKING_ROWS_A_CORE = 500.0
"""Tokenising a dialogue and packing it."""
TASK_S = 0.01
"""The driver's part of a Ray task: 640 tasks over 213 shards took 10 ms each where the same cores did the work."""
TASKS_A_SHARD = 3
"""Read and render, answer, parse and write."""
CPU_TASK = 0.5
"""What each of our tasks asks Ray for, so that two share a core while they wait for S3."""
PUTS_A_SECOND, GETS_A_SECOND = 3500.0, 5500.0
"""A prefix of S3 takes at least so many (AWS, "Optimizing Amazon S3 performance"); a table is a prefix."""
S3_LATENCY_S = (0.02, 0.1, 0.2)
"""A small object's first byte takes 100 to 200 ms (AWS, the same guide), and less from within the region."""
GETS_A_BATCH = 4
"""To take one partition out of a spilled file: a HEAD and three ranges, counted on an S3 server."""
BYTES_A_PERSONA = 130
BYTES_A_WORK_ROW = 4096
"""As `synthesis/pairing.py` reckons when it chooses how many partitions there are."""
ROWS_PER_SPILL = 50_000
"""As `synthesis/intake.py` spills."""
IDS_BYTES = {"characters": 8, "draws": 4, "dialogues": 24}
"""What the steps hold of ids: the sorted cast, a draw a dialogue (pairing), two arrays a dialogue (curation)."""
OBJECT_STORE_BYTES = 0.3 * 64 * 2**30
"""What Ray gives to objects on a node of 64 GiB; the arrays of ids are whole objects there."""

Parts = dict[str, Draws]


def total(parts: Mapping[str, Draws]) -> Draws:
    """Seconds of a step: what adds up, or the slowest of what runs beside it."""
    own = sum((seconds for name, seconds in parts.items() if name not in (*BESIDE, START)), exactly(0))
    slowest: Draws = np.maximum.reduce([own, *(parts[name] for name in BESIDE if name in parts)])
    return parts.get(START, exactly(0)) + slowest


def shards_of(rows: Draws) -> Draws:
    """How many shards a table has."""
    sizes = np.array([rows_per_shard(max(1, round(number))) for number in rows.tolist()], np.float64)
    shards: Draws = np.maximum(np.ceil(rows / sizes), 1.0)
    return shards


def engine_parts(known: Known, shards: Draws, replicas: float) -> Parts:
    """The parts of a phase's time that its engines decide."""
    even = known.rows / replicas
    loaded = known.rows * np.ceil(shards / replicas) / shards
    work, loaded_work = (
        work_without_tail(known.lengths, known.computed, rows, known.pace) / known.rate for rows in (even, loaded)
    )
    with_tail = work_for(known.lengths, known.computed, loaded, known.pace) / known.rate
    return {START: known.startup, ENGINE: work, SHARDS: loaded_work - work, TAIL: with_tail - loaded_work}


def feeding_parts(rows: Draws, shards: Draws, cpus: float, on_s3: bool) -> Parts:
    """What reads the rows of a phase and writes them, beside the engine."""
    parts = {READING: rows / (ROWS_A_CORE * cpus), DRIVER: shards * TASKS_A_SHARD * TASK_S}
    if on_s3:
        waiting = 2 * shards * _latency() / (cpus / CPU_TASK)
        parts[REQUESTS] = np.maximum(shards / PUTS_A_SECOND, waiting)
    return parts


def _latency() -> Draws:
    return between(*S3_LATENCY_S, "S3 latency")


def exchange_parts(files: Draws, partitions: Draws, cpus: float, on_s3: bool) -> Parts:
    """Partitions that are each collected out of all spilled files."""
    parts = {DRIVER: (files + partitions) * TASK_S}
    if on_s3:
        gets = GETS_A_BATCH * files * partitions
        in_flight = np.minimum(partitions, cpus / CPU_TASK)
        parts[REQUESTS] = np.maximum(gets / GETS_A_SECOND, gets * _latency() / in_flight)
    return parts


def intake_parts(intake: Intake, on_s3: bool, fixed: Draws, cpus: float) -> Parts:
    """Files to a table of clean, distinct rows; their rows are known."""
    assert intake.rows is not None
    at_once = max(1.0, min(intake.tasks, cpus / CPU_TASK))
    files = np.maximum(np.ceil(intake.rows / ROWS_PER_SPILL), intake.tasks)
    partitions = _partitions(intake.rows * BYTES_A_PERSONA)
    beside = exchange_parts(files, partitions, cpus, on_s3)
    return {START: fixed, READING: intake.rows / (INTAKE_ROWS * at_once), **beside}


def pairing_parts(pairing: Pairing, on_s3: bool, fixed: Draws, cpus: float) -> Parts:
    """Instructions and profiles to work; all of their rows are known."""
    assert pairing.rows is not None
    assert pairing.instructions is not None
    assert pairing.profiles is not None
    files = shards_of(pairing.instructions) + shards_of(pairing.profiles)
    partitions = _partitions(pairing.rows * BYTES_A_WORK_ROW)
    return {
        START: fixed,
        READING: pairing.rows / (ROWS_A_CORE * cpus),
        **exchange_parts(files, partitions, cpus, on_s3),
    }


def curation_parts(dialogues: Draws, on_s3: bool, fixed: Draws, cpus: float) -> Parts:
    """Dialogues to the curated set: each is judged once, by rules in Python."""
    beside = feeding_parts(dialogues, shards_of(dialogues), cpus, on_s3)
    return {**beside, START: fixed, READING: dialogues / (CURATION_ROWS_A_CORE * cpus)}


def packing_parts(dialogues: Draws, on_s3: bool, fixed: Draws, cpus: float) -> Parts:
    """Curated dialogues to packed sequences."""
    beside = exchange_parts(shards_of(dialogues), _partitions(dialogues * BYTES_A_WORK_ROW), cpus, on_s3)
    return {START: fixed, READING: dialogues / (PACKING_ROWS_A_CORE * cpus), **beside}


def _partitions(sizes: Draws) -> Draws:
    return np.array([partitions_for(round(size)) for size in sizes.tolist()], np.float64)

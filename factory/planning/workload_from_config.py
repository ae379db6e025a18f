"""A config to its workload: steps, rows and engines. The only part of planning that looks at inputs."""

from collections.abc import Collection, Iterator
from itertools import groupby
from typing import Any, Literal

import numpy as np

from factory.config import RunConfig, ServedModel, VllmEngine, workers
from factory.errors import UnreachableError
from factory.evaluation.general_ability.items import general_items
from factory.evaluation.questions import questions_per_task
from factory.inference.engines.registry import backend_for
from factory.personagym import all_questions, open_benchmark
from factory.planning.bottlenecks import READ_ROWS_PER_CORE, TASKS_PER_CORE, TASKS_PER_SHARD
from factory.planning.pilot import Pilot
from factory.planning.uncertainty import Draws, constant, lognormal
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
from factory.run_output import layout
from factory.runtime.ray_session import on_gpu
from factory.storage.shuffle import ROWS_PER_SPILL
from factory.synthesis.input_files import split_into_tasks
from factory.synthesis.input_sample import Preview, preview_instructions, preview_personas
from factory.synthesis.steps import instruction_files, persona_files

ROWS_SPREAD = 0.1
"""Relative error of a row count that is estimated from file sizes."""
INGEST_ROWS = 20_000.0
"""Rows per second that one task reads from a file, cleans and spills; cleaning alone does 99,000 short personas."""
READ_ROWS = READ_ROWS_PER_CORE / TASKS_PER_CORE
"""Likewise for rows that are assigned, or tokenized and packed."""
FILTER_ROWS = 333.0 / TASKS_PER_CORE
"""Likewise for dialogues that are curated: 3 ms each on a core (`curation/curation_run.py`)."""
PERSONA_BYTES, ROW_BYTES = 130, 4096
"""Bytes per row by which `synthesis` and `training` choose the number of partitions."""
FIRST_STEP_S, NEXT_STEP_S = 8.0, 3.0
"""What a step of Ray Data takes regardless of its rows; the first one of a command starts the workers."""


def workload_from_config(config: RunConfig, sections: Collection[str], pilot: Pilot | None) -> Workload:
    """Return everything that a run has to do.

    Args:
        config: the run's settings.
        sections: those that the user wrote: others are not planned.
        pilot: an earlier small run, for the proportion of rows that are accepted.

    Raises:
        UserError: an input is missing or wrong.
    """
    notes: list[str] = []
    pool = replica_pool(config.engine, config)
    steps, dialogues = _synthesis(config, pool, pilot, notes)
    known = [table.rows for table in dialogues if table.rows is not None]
    total = sum(known, constant(0)) if len(known) == len(dialogues) else None
    if dialogues and {"curation", "training"} & set(sections):
        tasks = None if total is None else shard_count(total) * TASKS_PER_SHARD
        curation = CpuStep("curation", layout.CURATED.name(split="train"), total, tasks, 0, FILTER_ROWS)
        steps += [CommandStart("curate"), curation]
    if "training" in sections:
        trained = None if config.training.data else total
        files = None if trained is None else shard_count(trained)
        packing = CpuStep("packing", layout.PACKED.name(split="train"), trained, files, ROW_BYTES, READ_ROWS)
        training = TrainingStep(config.training, trained, _runs_on_gpu(config.training.device, config))
        steps += [CommandStart("train"), packing, training]
    if "evaluation" in sections and config.evaluation.candidates and config.evaluation.judges:
        steps += [CommandStart("evaluate"), *_evaluation(config, pool)]
    return Workload(
        tuple(steps), "://" in config.output, tuple(f"Could not be read from here: {note}" for note in notes)
    )


def _synthesis(
    config: RunConfig, pool: ReplicaPool, pilot: Pilot | None, notes: list[str]
) -> tuple[list[PlannedStep], tuple[GeneratedTable, ...]]:
    """Return the steps up to the dialogues, and the tables of dialogues; add unreadable inputs to `notes`."""
    personas = _rows(preview_personas(config, notes), "personas")
    profiles = _accepted(personas, "personas", pilot)
    ingest, assign, dialogues = [_ingest("personas", personas, _tasks(config, None), FIRST_STEP_S)], [], []
    for index, section in enumerate(config.instructions):
        corpus, sample = section.corpus, preview_instructions(config, index, notes)[0]
        table, name = layout.INSTRUCTIONS.name(corpus=corpus), layout.ASSIGNMENTS.name(corpus=corpus)
        rows = _rows(sample, table)
        kept = _accepted(rows, table, pilot)
        ingest.append(_ingest(table, rows, _tasks(config, index), NEXT_STEP_S))
        assigned = None if kept is None else kept * config.dialogues.characters_per_instruction
        files = None if kept is None or profiles is None else shard_count(kept) + shard_count(profiles)
        assign.append(CpuStep(name, name, assigned, files, ROW_BYTES, READ_ROWS, startup_seconds=NEXT_STEP_S))
        for strategy in config.dialogues.strategies:
            turns = sample.turns if sample and strategy == "generate" else 1.0
            name = layout.DIALOGUES.name(strategy=strategy, corpus=corpus)
            dialogues.append(GeneratedTable(name, strategy, assigned, turns))
    phase = Phase("profiles", (GeneratedTable("profiles", "profiles", profiles),), pool, "profiles")
    steps: list[PlannedStep] = [CommandStart("synthesize"), *ingest, phase, *assign]
    if dialogues:
        steps.append(Phase("dialogues", tuple(dialogues), pool, "dialogues"))
    return steps, tuple(dialogues)


def _ingest(table: str, rows: Draws | None, tasks: int, startup: float) -> CpuStep:
    files = None if rows is None else np.maximum(np.ceil(rows / ROWS_PER_SPILL), tasks)
    return CpuStep(f"read {table}", table, rows, files, PERSONA_BYTES, INGEST_ROWS, tasks, startup)


def _rows(sample: Preview | None, name: str) -> Draws | None:
    if sample is None:
        return None
    return constant(sample.rows) if sample.exact else lognormal(sample.rows, ROWS_SPREAD, name)


def _accepted(rows: Draws | None, table: str, pilot: Pilot | None) -> Draws | None:
    part = pilot.accepted(table) if pilot else None
    return rows if rows is None or part is None else rows * part


def _tasks(config: RunConfig, index: int | None) -> int:
    section = config.personas if index is None else config.instructions[index]
    if section.limit:
        return 1
    try:
        files = persona_files(config) if index is None else instruction_files(config, config.instructions[index])[0]
    except UnreachableError:
        return 1
    return len(split_into_tasks(files, None))


def _runs_on_gpu(device: Literal["auto", "cpu", "gpu"], config: RunConfig) -> bool:
    """Return whether a device of a config is a GPU, also when the plan is computed on a laptop.

    There `auto` would always be a CPU, so it counts as a GPU if any other part of the config names one.
    """
    parts = (config.engine, config.training, *config.evaluation.candidates, *config.evaluation.judges)
    return on_gpu(device) or (device == "auto" and any(getattr(part, "device", "") == "gpu" for part in parts))


def replica_pool(engine: Any, config: RunConfig) -> ReplicaPool:
    """Return the replicas of an engine, a candidate or a judge: as many as it may have."""
    served, gpu = isinstance(engine, ServedModel), _runs_on_gpu(getattr(engine, "device", "cpu"), config)
    concurrency = engine.max_concurrency if served else backend_for(engine).max_concurrency(gpu)
    kind = "served" if served else engine.kind
    if not isinstance(engine, VllmEngine | ServedModel):
        return ReplicaPool(kind, engine.model, max_concurrency=concurrency)
    gpus = workers(engine.engine_kwargs) if gpu else 0
    return ReplicaPool(kind, engine.model, engine.replicas[1], gpus, concurrency)


def _evaluation(config: RunConfig, engine: ReplicaPool) -> Iterator[Phase]:
    evaluation = config.evaluation
    benchmark = open_benchmark(evaluation.benchmark)
    personas = constant(len(benchmark.personas[: evaluation.limit]))
    by_persona = all_questions(benchmark, questions_per_task(config), evaluation.limit)
    questions = constant(sum(len(texts) for _, tasks in by_persona for texts in tasks.values()))
    if any(candidate.condition == "profile" for candidate in evaluation.candidates):
        profiles = GeneratedTable(layout.BENCHMARK_PROFILES.name(), "profiles", personas)
        yield Phase("profiles of the benchmark", (profiles,), engine, "benchmark profiles")
    pools = [(replica_pool(candidate, config), candidate.name) for candidate in evaluation.candidates]
    general = constant(len(general_items())) if evaluation.general else None
    for pool, members in groupby(sorted(pools, key=repr), key=lambda pair: pair[0]):
        names = [name for _, name in members]
        tables = [GeneratedTable(layout.ANSWERS.name(candidate=name), "answers", questions) for name in names]
        if general is not None:
            results = (layout.GENERAL_RESULTS.name(candidate=name) for name in names)
            tables += [GeneratedTable(name, "general", general) for name in results]
        title = f"answers ({', '.join(names)})"
        yield Phase(title, tuple(tables), pool, title if pool.kind == "vllm" else "answers of endpoints")
    judges = {judge.name: replica_pool(judge, config) for judge in evaluation.judges}
    writers = [evaluation.example_writer] if evaluation.example_writer else list(judges)
    for writer in writers:
        examples = GeneratedTable(layout.SCORE_EXAMPLES.name(judge=writer), "examples", questions / len(writers))
        yield Phase(f"example replies ({writer})", (examples,), judges[writer], "examples")
    for judge, pool in judges.items():
        names = [layout.JUDGMENTS.name(candidate=candidate.name, judge=judge) for candidate in evaluation.candidates]
        tables = [GeneratedTable(name, "judgments", questions) for name in names]
        yield Phase(f"judgments ({judge})", tuple(tables), pool, "judgments")

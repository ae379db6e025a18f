"""A config to its plan: steps, rows and engines. The only part of planning that looks at inputs."""

from collections.abc import Collection, Sequence
from itertools import groupby
from typing import Any, Literal

import numpy as np

from factory.config import RunConfig, ServedModel, VllmEngine, workers
from factory.evaluation.dialogue_judge.judge_dry_run import verdict_tokens
from factory.evaluation.evaluation_calls import EvaluationCalls
from factory.evaluation.general_ability.items import count_items
from factory.evaluation.row_tokens import evaluation_tokens
from factory.evaluation.run_benchmark import named_benchmark
from factory.inference.engines.registry import backend_for
from factory.inference.token_prices import token_prices
from factory.planning import constants as c
from factory.planning.pilot import Pilot
from factory.planning.plan_steps import GeneratedTable, ReplicaPool, spilled_files
from factory.planning.planner import Planner
from factory.planning.training_cost import add_training
from factory.planning.uncertainty import UNKNOWN, Draws, constant, lognormal
from factory.run_output import layout
from factory.runtime.ray_session import on_gpu
from factory.synthesis.accept_goals import accept_lines
from factory.synthesis.dry_run import comparison_tokens, dialogue_tokens, profile_tokens
from factory.synthesis.input_sample import Preview, preview_given, preview_instructions, preview_personas


def plan_of_config(config: RunConfig, sections: Collection[str], pilot: Pilot, flops: float) -> Planner:
    """Plan everything that a run has to do.

    Args:
        config: the run's settings.
        sections: those that the user wrote: others are not planned.
        pilot: the tables of an earlier small run; it may have none.
        flops: operations per second of a GPU that trains.

    Raises:
        UserError: an input is missing or wrong.
    """
    engine = replica_pool(config.engine, config) if config.engine_section else ReplicaPool("", "")
    planner = Planner(config.planning, pilot, engine, flops, "://" in config.output)
    has_characters = config.personas_section or config.profiles.source
    dialogues = _synthesis(planner, config) if config.engine_section and has_characters else []
    total = np.sum([constant(0), *(table.rows for table in dialogues)], axis=0) / config.dialogues.candidates
    planner.notes += accept_lines(config.accept)
    if dialogues and {"curation", "training"} & set(sections):
        planner.add_command("curate")
        planner.add_cpu("curation", layout.CURATED.name(split="train"), total, c.FILTER_ROWS)
        _curation_judge(planner, config, dialogues)
    if "training" in sections:
        trained = UNKNOWN if config.training.data else total
        packed = layout.PACKED.name(split="train")
        planner.add_command("train")
        files = spilled_files(trained, c.ROW_BYTES)
        planner.add_cpu("packing", packed, trained, c.READ_ROWS, files=files, bytes_per_row=c.ROW_BYTES)
        add_training(planner, config.training, trained, _runs_on_gpu(config.training.device, config))
    if "evaluation" in sections and config.evaluation.candidates and config.evaluation.judges:
        planner.add_command("evaluate")
        _evaluation(planner, config)
    if planner.estimated:
        kinds = ", ".join(dict.fromkeys(planner.estimated))
        planner.notes.append(f"Tokens of {kinds} are estimates, of prompts and usual replies; a pilot measures them.")
    paid = [table.pool for table in planner.tables if table.pool.kind == "openai" and not table.pool.prices]
    planner.missing += [f"the price of {model}; give its `prices`" for model in dict.fromkeys(p.model for p in paid)]
    return planner


def _synthesis(planner: Planner, config: RunConfig) -> list[GeneratedTable]:
    """Add the steps up to the dialogues, and return the tables of dialogues."""
    planner.add_command("synthesize")
    unread: list[str] = []
    preview, profiles = None, constant(0)
    if config.has_personas:
        preview = preview_personas(config, unread)
        personas = _ingest(planner, "personas", preview, config.personas.limit, c.FIRST_STEP_S)
        profiles = planner.accepted(personas, "personas")
    given = constant(0)
    if config.profiles.source:
        name, startup = layout.GIVEN_PROFILES.name(), c.NEXT_STEP_S if config.has_personas else c.FIRST_STEP_S
        rows = _ingest(planner, name, preview_given(config, unread), config.profiles.limit, startup)
        given = planner.accepted(rows, name)
    corpora = []
    for index, section in enumerate(config.instructions):
        sample, table = preview_instructions(config, index, unread)[0], layout.INSTRUCTIONS.name(corpus=section.corpus)
        rows = _ingest(planner, table, sample, section.limit, c.NEXT_STEP_S)
        corpora.append((section.corpus, planner.accepted(rows, table), sample))
    planner.notes += [f"Could not be read from here: {problem}" for problem in unread]
    if config.has_personas:
        about = profile_tokens(config, preview)
        written = planner.table("profiles", "profiles", planner.engine, profiles, about=about)
        planner.add_engine("profiles", "profiles", [written])
    profiles = profiles + given
    dialogues, compared = [], []
    for corpus, kept, sample in corpora:
        name, rows = layout.ASSIGNMENTS.name(corpus=corpus), kept * config.dialogues.characters_per_instruction
        files = spilled_files(rows, c.ROW_BYTES) + spilled_files(profiles, c.ROW_BYTES)
        planner.add_cpu(name, name, rows, c.READ_ROWS, c.NEXT_STEP_S, files, c.ROW_BYTES)
        for strategy in config.dialogues.strategies:
            times = config.dialogues.candidates
            kind = layout.CANDIDATES if times > 1 else layout.DIALOGUES
            name = kind.name(strategy=strategy, corpus=corpus)
            calls = sample.turns if sample and strategy == "generate" else 1
            about = dialogue_tokens(config, strategy, sample)
            dialogues.append(planner.table(name, strategy, planner.engine, times * rows, calls, about))
            if config.dialogues.choose and times > 1:
                name, pairs = layout.COMPARISONS.name(strategy=strategy, corpus=corpus), times * (times - 1) * rows
                pool, about = replica_pool(config.dialogues.choose.judge, config), comparison_tokens(config, sample)
                compared.append(planner.table(name, "judgments", pool, pairs, about=about))
    if dialogues:
        planner.add_engine("dialogues", "dialogues", dialogues)
    if compared:
        planner.add_engine("comparisons of candidates", "comparisons", compared)
    return dialogues


def _curation_judge(planner: Planner, config: RunConfig, dialogues: Sequence[GeneratedTable]) -> None:
    """Add the judge of curation, for all dialogues: how many of them the rules leave is not known before."""
    rule = config.curation.judge
    if rule is None:
        return
    pool, tables = replica_pool(rule.as_judge(), config), []
    for table in dialogues:
        parts = layout.DIALOGUES.parts(table.name) or layout.CANDIDATES.parts(table.name) or {}
        rows = table.rows * rule.sample / config.dialogues.candidates
        for strategy in rule.on:
            if parts["strategy"] == strategy:
                name, about = layout.JUDGED.name(**parts), verdict_tokens(config, strategy)
                tables.append(planner.table(name, "verdicts", pool, rows, about=about))
    if tables:
        planner.add_engine(f"verdicts ({rule.as_judge().name})", "verdicts", tables)


def _ingest(planner: Planner, table: str, sample: Preview | None, limit: int | None, startup: float) -> Draws:
    """Add a step that reads a source, a file in each task and under a limit one by one, and return its rows."""
    if sample is None:
        rows = UNKNOWN
        planner.missing.append(f"{table}: its rows cannot be counted from here; give its `limit`, or run where it is")
    else:
        rows = constant(sample.rows) if sample.exact else lognormal(sample.rows, c.ROWS_SPREAD, table)
    tasks = 1 if sample is None or limit else max(sample.files, 1)
    files = np.maximum(spilled_files(rows, c.PERSONA_BYTES), tasks)
    planner.add_cpu(f"read {table}", table, rows, c.INGEST_ROWS, startup, files, c.PERSONA_BYTES, tasks)
    return rows


def _runs_on_gpu(device: Literal["auto", "cpu", "gpu"], config: RunConfig) -> bool:
    """Return whether a device of a config is a GPU, also when the plan is computed on a laptop.

    There `auto` would always be a CPU, so it counts as a GPU if any other part of the config names one, by its device
    or its kind.
    """
    evaluation, judge = config.evaluation, config.curation.judge
    parts = (config.engine_section, config.training, judge, *evaluation.candidates, *evaluation.judges)
    on_gpus = (getattr(part, "device", "") == "gpu" or getattr(part, "accelerator_type", None) for part in parts)
    return on_gpu(device) or (device == "auto" and any(on_gpus))


def replica_pool(engine: Any, config: RunConfig) -> ReplicaPool:
    """Return the replicas of an engine, a candidate or a judge: as many as it may have."""
    served, gpu = isinstance(engine, ServedModel), _runs_on_gpu(getattr(engine, "device", "cpu"), config)
    concurrency = engine.max_concurrency if served else backend_for(engine).max_concurrency(gpu)
    kind = "served" if served else engine.kind
    if not isinstance(engine, VllmEngine | ServedModel):
        return ReplicaPool(kind, engine.model, max_concurrency=concurrency, prices=token_prices(engine))
    gpus = workers(engine.engine_kwargs) if gpu else 0
    return ReplicaPool(kind, engine.model, engine.replicas[1], gpus, concurrency)


def _evaluation(planner: Planner, config: RunConfig) -> None:
    evaluation = config.evaluation
    benchmark = named_benchmark(config)
    calls = EvaluationCalls.of(config, benchmark)
    personas, questions, answers, judged = map(
        constant, (calls.personas, calls.questions, calls.answers, calls.judgments)
    )
    about = evaluation_tokens(config, benchmark)
    if any(candidate.condition == "profile" for candidate in evaluation.candidates):
        profile = profile_tokens(config, None)
        profiles = planner.table(layout.BENCHMARK_PROFILES.name(), "profiles", planner.engine, personas, about=profile)
        planner.add_engine("profiles of the benchmark", "benchmark profiles", [profiles])
    pools = [(replica_pool(candidate, config), candidate.name) for candidate in evaluation.candidates]
    general = constant(count_items(evaluation)) if evaluation.general else None
    for pool, members in groupby(sorted(pools, key=repr), key=lambda pair: pair[0]):
        names = [name for _, name in members]
        tables = [
            planner.table(layout.ANSWERS.name(candidate=name), "answers", pool, answers, about=about["answers"])
            for name in names
        ]
        if general is not None:
            results = (layout.GENERAL_RESULTS.name(candidate=name) for name in names)
            tables += [planner.table(name, "general", pool, general, about=about["general"]) for name in results]
        title = f"answers ({', '.join(names)})"
        planner.add_engine(title, title if pool.kind == "vllm" else "answers of endpoints", tables)
    judges = {judge.name: replica_pool(judge, config) for judge in evaluation.judges}
    writers = [evaluation.example_writer] if evaluation.example_writer else list(judges)
    for writer in [] if benchmark.frozen else writers:
        name = layout.SCORE_EXAMPLES.name(judge=writer)
        rows = questions / len(writers)
        examples = planner.table(name, "examples", judges[writer], rows, about=about["examples"])
        planner.add_engine(f"example replies ({writer})", "examples", [examples])
    for judge, pool in judges.items():
        kind = layout.BLOCK_VERDICTS if evaluation.parity else layout.JUDGMENTS
        names = [kind.name(candidate=candidate.name, judge=judge) for candidate in evaluation.candidates]
        tables = [planner.table(name, "judgments", pool, judged, about=about["judgments"]) for name in names]
        planner.add_engine(f"judgments ({judge})", "judgments", tables)

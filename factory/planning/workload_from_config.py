"""A config to its stages: how many rows and calls, by what engine. The one part of planning that looks at inputs."""

from collections.abc import Collection, Iterator
from itertools import groupby
from typing import Any, Literal

from factory.config import RunConfig, ServedModel, VllmEngine, workers
from factory.errors import UnreachableError
from factory.evaluation.general_ability.items import general_items
from factory.evaluation.questions import answers_table, examples_table, judgments_table, questions_per_task
from factory.inference.engines import backend_for
from factory.personagym import all_questions, open_benchmark
from factory.planning.pilot import Pilot
from factory.planning.uncertainty import Draws, exactly, give_or_take
from factory.planning.workload import Crew, Intake, Outline, Pairing, Phase, Stage, Training
from factory.runtime.ray_session import on_gpu
from factory.synthesis.input_files import tasks_of
from factory.synthesis.input_sample import Preview, preview_instructions, preview_personas
from factory.synthesis.steps import dialogues_table, instruction_files, persona_files

GUESSED = 0.1
"""How far off a count may be that goes by the size of a file: about a tenth."""


def outline(config: RunConfig, named: Collection[str], pilot: Pilot | None) -> Outline:
    """Everything that is to be done.

    Args:
        config: the run's settings.
        named: the sections that the user wrote: others are not planned.
        pilot: an earlier small run, which knows the share of rows that are accepted.

    Raises:
        UserError: an input is missing or wrong.
    """
    notes: list[str] = []
    personas = preview_personas(config, notes)
    corpora = [preview_instructions(config, index, notes)[0] for index in range(len(config.instructions))]
    cast = _accepted(_rows(personas, "personas"), "personas", pilot)
    intakes, pairings = [Intake("personas", _rows(personas, "personas"), _tasks(config, None))], []
    dialogues: list[Stage] = []
    for index, (corpus, sample) in enumerate(zip(config.instructions, corpora, strict=True)):
        table = f"instructions/{corpus.corpus}"
        read = _rows(sample, table)
        kept = _accepted(read, table, pilot)
        work = None if kept is None else kept * config.dialogues.characters_per_instruction
        intakes.append(Intake(table, read, _tasks(config, index)))
        pairings.append(Pairing(f"assignments/{corpus.corpus}", kept, cast, work))
        for strategy in config.dialogues.strategies:
            turns = sample.turns if sample and strategy == "generate" else 1.0
            dialogues.append(Stage(dialogues_table(strategy, corpus.corpus), strategy, work, turns))
    crew = crew_of(config.engine, config)
    phases = [Phase("profiles", (Stage("profiles", "profiles", cast),), crew, "profiles")]
    if dialogues:
        phases.append(Phase("dialogues", tuple(dialogues), crew, "dialogues"))
    if "evaluation" in named and config.evaluation.candidates and config.evaluation.judges:
        phases += _evaluation(config, crew)
    curated = bool({"curation", "training"} & set(named)) and bool(dialogues)
    made = [stage.rows for stage in dialogues if stage.rows is not None]
    total = sum(made, exactly(0)) if len(made) == len(dialogues) else None
    return Outline(
        intakes=tuple(intakes),
        pairings=tuple(pairings),
        phases=tuple(phases),
        dialogues=total,
        curated=curated,
        training=_training(config, total) if "training" in named else None,
        on_s3="://" in config.output,
        notes=[f"Not read from here: {note}" for note in notes],
    )


def _rows(sample: Preview | None, name: str) -> Draws | None:
    if sample is None:
        return None
    return exactly(sample.rows) if sample.exact else give_or_take(sample.rows, GUESSED, name)


def _accepted(rows: Draws | None, table: str, pilot: Pilot | None) -> Draws | None:
    """The rows that are accepted, if as many are as were in the pilot."""
    share = pilot.accepted(table) if pilot else None
    return rows if rows is None or share is None else rows * share


def _tasks(config: RunConfig, index: int | None) -> int:
    section = config.personas if index is None else config.instructions[index]
    if section.limit:
        return 1
    try:
        files = persona_files(config) if index is None else instruction_files(config, config.instructions[index])[0]
    except UnreachableError:
        return 1
    return len(tasks_of(files, None))


def means_gpu(device: Literal["auto", "cpu", "gpu"], config: RunConfig) -> bool:
    """Whether a device of a config is a GPU. A plan may be made on a laptop, where `auto` would always be a CPU.

    So `auto` is a GPU too where any other engine of the config names one.
    """
    members = (config.engine, config.training, *config.evaluation.candidates, *config.evaluation.judges)
    named = any(getattr(member, "device", "") == "gpu" for member in members)
    return on_gpu(device) or (device == "auto" and named)


def crew_of(engine: Any, config: RunConfig) -> Crew:
    """The replicas of an engine, of a candidate or of a judge, as many as it may have."""
    served = isinstance(engine, ServedModel)
    gpu = means_gpu(getattr(engine, "device", "cpu"), config)
    places = engine.max_concurrency if served else backend_for(engine).max_concurrency(gpu)
    if not isinstance(engine, VllmEngine | ServedModel):
        return Crew(engine.kind, engine.model, places=places)
    return Crew(engine.kind, engine.model, engine.replicas[1], workers(engine.engine_kwargs) if gpu else 0, places)


def _evaluation(config: RunConfig, crew: Crew) -> Iterator[Phase]:
    evaluation = config.evaluation
    benchmark = open_benchmark(evaluation.benchmark)
    personas = exactly(len(benchmark.personas[: evaluation.limit]))
    every = all_questions(benchmark, questions_per_task(config), evaluation.limit)
    questions = exactly(sum(len(asked) for _, tasks in every for asked in tasks.values()))
    if any(candidate.condition == "profile" for candidate in evaluation.candidates):
        profiles = Stage("evaluation/benchmark/profiles", "profiles", personas)
        yield Phase("profiles of the benchmark", (profiles,), crew, "benchmark profiles")
    crews = [(crew_of(candidate, config), candidate.name) for candidate in evaluation.candidates]
    for answering, members in groupby(sorted(crews, key=repr), key=lambda one: one[0]):
        names = [name for _, name in members]
        stages = [Stage(answers_table(config, name).name, "answers", questions) for name in names]
        if evaluation.general:
            general = exactly(len(general_items()))
            stages += [Stage(f"evaluation/{name}/general", "general", general) for name in names]
        told = f"answers ({', '.join(names)})"
        yield Phase(told, tuple(stages), answering, told if answering.kind == "vllm" else "answers of endpoints")
    judges = {judge.name: crew_of(judge, config) for judge in evaluation.judges}
    writer = evaluation.example_writer or next(iter(judges))
    examples = Stage(examples_table(config).name, "examples", questions)
    yield Phase(f"example replies ({writer})", (examples,), judges[writer], "examples")
    for judge, judging in judges.items():
        names = [judgments_table(config, candidate.name, judge).name for candidate in evaluation.candidates]
        stages = [Stage(name, "judgments", questions) for name in names]
        yield Phase(f"judgments ({judge})", tuple(stages), judging, "judgments")


def _training(config: RunConfig, dialogues: Draws | None) -> Training:
    training = config.training
    if training.data:
        dialogues = None
    return Training(
        base_model=training.base_model,
        dialogues=dialogues,
        sequence_length=training.sequence_length,
        epochs=training.epochs,
        batch=training.global_batch_size,
        workers=training.num_workers,
        on_gpu=means_gpu(training.device, config),
        eval_steps=training.eval_steps,
        validation_sequences=training.validation_sequences,
        validation_fraction=config.curation.validation_fraction,
        save_total_limit=training.save_total_limit,
        recomputes=training.gradient_checkpointing,
    )

"""The steps that generate a new benchmark, each from one finished table to the next.

    personas ──► settings ──► tasks (five rows per persona) ──► questions

`write_benchmark` writes the folder in PersonaGym's layout.
"""

from functools import partial
from typing import Any

import pyarrow as pa

from factory.benchmark_generation.question_prompts import (
    parse_questions,
    parse_settings,
    questions_ids,
    render_questions,
    render_settings,
    settings_ids,
)
from factory.config import RunConfig
from factory.errors import ConfigError
from factory.inference.generation_step import EngineUse, GenerationStep, TableJob
from factory.inference.locate import locate_model
from factory.inference.model_files import Located
from factory.inference.prompts import load_prompt
from factory.inference.run_jobs import run_jobs
from factory.personagym import BUILT_IN, TASKS, read_texts
from factory.records import Counts, Persona, PersonaTask
from factory.runtime import metrics
from factory.runtime.build_table import build_table, identity, map_shards
from factory.runtime.progress import Progress
from factory.storage import file_io
from factory.storage.schemas import PERSONA_QUESTIONS, PERSONA_SETTINGS, PERSONA_TASKS
from factory.storage.tables import Table

TABLES = "benchmark-generation"
"""Apart from the benchmark's own folder, which is archived by itself when a setting changes."""
PROMPTS = ("benchmark-settings", "benchmark-questions")


def check(config: RunConfig) -> None:
    """Check prompts, settings and the engine's model.

    Raises:
        UserError: something would stop a run.
    """
    check_prompts(config)
    locate_model(config.engine)


def check_prompts(config: RunConfig) -> None:
    """Check prompts and settings.

    Raises:
        PromptError: a prompt cannot be read.
        ConfigError: a persona would need more settings than there are.
    """
    for name in PROMPTS:
        load_prompt(name, config.prompt_places)
    available, count = available_settings(), config.benchmark_generation.settings_per_persona
    if count > len(available):
        raise ConfigError(
            f"benchmark_generation.settings_per_persona is {count}, but there are {len(available)} settings; lower it"
        )


def available_settings() -> list[str]:
    """Return the situations to choose from."""
    return read_texts(file_io.join(BUILT_IN, "settings.json"))


def choose_settings(config: RunConfig, model: Located, personas: Table, progress: Progress) -> Table:
    """Let the model choose the settings of each persona's questions."""
    prompt = load_prompt("benchmark-settings", config.prompt_places)
    available, count = available_settings(), config.benchmark_generation.settings_per_persona
    step = GenerationStep(
        record=Persona,
        schema=PERSONA_SETTINGS,
        prompt=prompt.ref,
        render=partial(render_settings, prompt, available, count),
        parse=partial(parse_settings, available, count),
        ids=settings_ids,
    )
    table = Table(config.output, f"{TABLES}/settings")
    settings = {"offered": available, "settings_per_persona": count}
    run_jobs([TableJob(step, personas, table, settings, _engine(config, model))], progress)
    return table


def write_questions(config: RunConfig, model: Located, settings: Table, progress: Progress) -> Table:
    """Let the model write each persona's questions, task by task."""
    prompt = load_prompt("benchmark-questions", config.prompt_places)
    count = config.benchmark_generation.questions_per_task
    step = GenerationStep(
        record=PersonaTask,
        schema=PERSONA_QUESTIONS,
        prompt=prompt.ref,
        render=partial(render_questions, prompt, count),
        parse=partial(parse_questions, count),
        ids=questions_ids,
    )
    table, work = Table(config.output, f"{TABLES}/questions"), _tasks(settings, progress)
    run_jobs([TableJob(step, work, table, {"questions_per_task": count}, _engine(config, model))], progress)
    return table


def _engine(config: RunConfig, model: Located) -> EngineUse:
    return EngineUse(config.engine, config.benchmark_generation.sampling, config.seed, model)


def _tasks(settings: Table, progress: Progress) -> Table:
    """Write a row per persona and task; a shard of settings becomes a shard of tasks."""
    table = Table(settings.output, f"{TABLES}/tasks")
    inputs = {"settings": identity(settings), "tasks": list(TASKS)}
    rows = (settings.manifest() or {})["ok"] * len(TASKS)

    def expand() -> Counts:
        counts = Counts()
        for row in map_shards(settings, partial(_expand, settings, table)):
            part = Counts(ok=row["rows"])
            counts += part
            progress.advance(part)
            metrics.count(table.name, part)
        return counts

    build_table(table, inputs, rows, expand, progress)
    return table


def _expand(settings: Table, tasks: Table, shard: dict[str, Any]) -> dict[str, Any]:
    rows = settings.read(shard["shard"], [*PERSONA_TASKS.names[:-1], "status"]).to_pylist()
    expanded = [row | {"task": task} for row in rows if row["status"] == "ok" for task in TASKS]
    if expanded:
        tasks.write_arrow(shard["shard"], pa.Table.from_pylist(expanded, schema=PERSONA_TASKS))
    return {"rows": len(expanded)}

"""The steps of synthesis as the job runs them, each from one finished table to the next.

ingest_personas ──► make_profiles ──┐
                                  ├─► assign ──► make_dialogues (a table a strategy)
ingest_instructions ────────────────┘
"""

import itertools
import json
from collections.abc import Sequence
from functools import partial
from typing import Any

from factory.config import Instructions, RunConfig, Strategy
from factory.errors import ConfigError, InputError
from factory.inference.generation_step import EngineUse, GenerationStep, TableJob
from factory.inference.model_files import Located
from factory.inference.prompts import load_prompt
from factory.inference.run_jobs import run_jobs
from factory.records import Assignment, Persona
from factory.runtime.progress import Progress
from factory.storage.schemas import DIALOGUES, INSTRUCTIONS, PERSONAS, PROFILES
from factory.storage.tables import Table
from factory.synthesis.assign_step import pair
from factory.synthesis.dialogues import Style, dialogue_ids, parse_dialogue, render_dialogue
from factory.synthesis.ingest import Intake, take_in
from factory.synthesis.input_files import check_column, find_files, names_in, not_empty, read_rows
from factory.synthesis.input_formats import RawRow
from factory.synthesis.instructions import (
    COLUMNS,
    FORMATS,
    KNOWN,
    WITHOUT_RESPONSES,
    format_of,
    read_instruction,
    read_mixed,
)
from factory.synthesis.opening import SourceFile
from factory.synthesis.personas import read_persona
from factory.synthesis.profiles import parse_profile, profile_ids, render_profile

PERSONAS_TABLE = "personas"
PROFILES_TABLE = "profiles"
LOOKED_AT = 1000
"""How many rows may come before the first that has a format."""


def instructions_table(corpus: str) -> str:
    """Name of a corpus's table of instructions."""
    return f"instructions/{corpus}"


def dialogues_table(strategy: Strategy, corpus: str) -> str:
    """Name of the table of dialogues that a strategy makes of a corpus."""
    return f"dialogues/{strategy}-{corpus}"


def ingest_personas(config: RunConfig, progress: Progress) -> Table:
    """Files to the table of clean, distinct personas."""
    files = persona_files(config)
    column = config.personas.column
    table = Table(config.output, PERSONAS_TABLE)
    made = take_in(persona_intake(config), files, config.personas.limit, table, {"column": column}, progress)
    check_some(made["ok"], made["rows_in"], made["rejected"], "personas.source")
    check_enough_characters(config, made["ok"], "distinct personas")
    return table


def persona_intake(config: RunConfig) -> Intake:
    """Return how personas are read."""
    column = config.personas.column
    return Intake(PERSONAS, "character_id", partial(_persona, column), (column,))


def _persona(column: str, raw: RawRow, source: int) -> Any:
    return read_persona(raw.value, column)


def persona_files(config: RunConfig) -> list[SourceFile]:
    """The files of personas, the first of which is known to have the column."""
    files = not_empty(find_files(config.personas.source))
    check_column(files[0].path, config.personas.column, "personas.column")
    return files


def ingest_instructions(config: RunConfig, corpus: Instructions, progress: Progress) -> Table:
    """Files to the table of one corpus's clean, distinct instructions."""
    files, form = instruction_files(config, corpus)
    table = Table(config.output, instructions_table(corpus.corpus))
    settings = {"corpus": corpus.corpus, "format": form}
    made = take_in(instruction_intake(corpus, form), files, corpus.limit, table, settings, progress)
    check_some(made["ok"], made["rows_in"], made["rejected"], f"instructions ({corpus.corpus})")
    return table


def instruction_intake(corpus: Instructions, form: str) -> Intake:
    """Return how the instructions of a corpus are read, whose first rows are in that format."""
    if corpus.format == "auto":
        return Intake(INSTRUCTIONS, "instruction_id", partial(_mixed, form, corpus.corpus), COLUMNS)
    read = partial(_instruction, form, corpus.corpus)
    return Intake(INSTRUCTIONS, "instruction_id", read, FORMATS[form].columns)


def _mixed(form: str, corpus: str, raw: RawRow, source: int) -> Any:
    return read_mixed(raw.value, form, corpus, source, raw.row)


def _instruction(form: str, corpus: str, raw: RawRow, source: int) -> Any:
    return read_instruction(raw.value, form, corpus, source, raw.row)


def instruction_files(config: RunConfig, corpus: Instructions) -> tuple[list[SourceFile], str]:
    """The files of a corpus and their format.

    Raises:
        InputError: the first rows are of no format, or not of the one that is named.
        ConfigError: responses are to be rewritten, and the format has none.
    """
    files = not_empty(find_files(corpus.source))
    form = _format_of_first(files[0].path) if corpus.format == "auto" else corpus.format
    if form == WITHOUT_RESPONSES and "rewrite" in config.dialogues.strategies:
        raise ConfigError(
            f"dialogues.strategies has 'rewrite', but the corpus {corpus.corpus!r} ({form}) has no responses; "
            "set dialogues.strategies=[generate], or leave the corpus to a run of its own"
        )
    if corpus.format != "auto":
        for column in FORMATS[form].needs:
            check_column(files[0].path, column, "instructions.format")
    return files, form


def _format_of_first(path: str) -> str:
    """Return the format of the first row that has one.

    Raises:
        InputError: none of the first rows has.
    """
    odd: dict[Any, Any] | None = None
    for raw in itertools.islice(read_rows(path, COLUMNS), LOOKED_AT):
        if form := format_of(raw.value):
            return form
        if odd is None and isinstance(raw.value, dict):
            odd = raw.value
    if odd is None:
        check_column(path, "messages")
        raise InputError(f"{path}: plain text holds no instructions; give objects in one of these formats: {KNOWN}")
    raise InputError(
        f"{path}: no one format fits the columns {names_in(odd)}; "
        f"rename them, or name one in instructions.format: {KNOWN}"
    )


def check_some(accepted: int, rows: int, rejected: dict[str, int], source: str) -> None:
    """Check that a source has a row that can be used.

    Raises:
        InputError: it has none.
    """
    if not accepted:
        raise InputError(f"{source}: none of {rows} rows can be used: {json.dumps(rejected)}")


def make_profiles(
    config: RunConfig, model: Located, personas: Table, progress: Progress, name: str = PROFILES_TABLE
) -> Table:
    """Every persona to a profile or a reject, in the table of that name."""
    prompt = load_prompt("profile", config.prompts_dir)
    language = config.profiles.language
    step = GenerationStep(
        record=Persona,
        schema=PROFILES,
        prompt=prompt.ref,
        render=partial(render_profile, prompt, language),
        parse=partial(parse_profile, language),
        ids=profile_ids,
    )
    engine = EngineUse(config.engine, config.profiles.sampling, config.seed, model)
    table = Table(config.output, name)
    run_jobs([TableJob(step, personas, table, {"language": language}, engine)], progress)
    return table


def check_enough_characters(config: RunConfig, characters: int, what: str) -> None:
    """Check that there are as many characters as an instruction asks for.

    Raises:
        ConfigError: there are fewer.
    """
    n = config.dialogues.characters_per_instruction
    if config.instructions and n > characters:
        raise ConfigError(
            f"dialogues.characters_per_instruction is {n}, but there are {characters} {what}; "
            "lower it or give more personas"
        )


def assign_instructions(config: RunConfig, instructions: Table, profiles: Table, progress: Progress) -> Table:
    """Every instruction with each of its characters.

    Raises:
        ConfigError: there are fewer characters than an instruction asks for.
    """
    check_enough_characters(config, (profiles.manifest() or {})["ok"], "accepted profiles")
    n = config.dialogues.characters_per_instruction
    corpus = instructions.name.removeprefix("instructions/")
    table = Table(config.output, f"assignments/{corpus}")
    pair(instructions, profiles, table, n, config.seed, progress)
    return table


def make_dialogues(config: RunConfig, model: Located, assignments: Sequence[Table], progress: Progress) -> None:
    """Every assignment to a dialogue or a reject, by each strategy: a table a strategy and corpus."""
    engine = EngineUse(config.engine, config.dialogues.sampling, config.seed, model)
    lanes = [
        _dialogues(config, engine, strategy, work) for work in assignments for strategy in config.dialogues.strategies
    ]
    run_jobs(lanes, progress)


def _dialogues(config: RunConfig, engine: EngineUse, strategy: Strategy, assignments: Table) -> TableJob:
    prompt = load_prompt(f"dialogue-{strategy}", config.prompts_dir)
    system = load_prompt("training-system", config.prompts_dir)
    style = Style(strategy, prompt, system, json.dumps(engine.settings(), sort_keys=True))
    step = GenerationStep(
        record=Assignment,
        schema=DIALOGUES,
        prompt=prompt.ref,
        render=partial(render_dialogue, style),
        parse=partial(parse_dialogue, style),
        ids=partial(dialogue_ids, style),
    )
    table = Table(config.output, dialogues_table(strategy, assignments.name.removeprefix("assignments/")))
    return TableJob(step, assignments, table, {"system": system.ref}, engine)

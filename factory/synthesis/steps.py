"""The steps of synthesis, each from finished tables to the next table.

ingest_personas ────► make_profiles ──┐
ingest_given ────────────┘            ├─► assign_instructions ──► make_dialogues (a table per strategy)
ingest_instructions ──────────────────┘
"""

import itertools
import json
from dataclasses import replace
from functools import partial
from typing import Any

from factory.config import Instructions, Personas, RunConfig
from factory.errors import ConfigError, InputError
from factory.inference.generation_step import EngineUse, GenerationStep, TableJob
from factory.inference.model_files import Located
from factory.inference.prompts import load_prompt
from factory.inference.run_jobs import run_jobs
from factory.population.table_passes import cast_fields
from factory.records import Persona
from factory.run_output import layout
from factory.runtime.progress import Progress
from factory.storage.schemas import INSTRUCTIONS, PERSONAS, PROFILES
from factory.storage.tables import Table
from factory.synthesis.accept_goals import profiles_to_accept
from factory.synthesis.assign_step import assign_characters
from factory.synthesis.ingest import InputKind, ingest_files
from factory.synthesis.input_files import check_column, find_files, names_in, not_empty, read_rows
from factory.synthesis.input_formats import RawRow
from factory.synthesis.instructions import (
    COLUMNS,
    FORMATS,
    KNOWN,
    WITHOUT_RESPONSES,
    detect_format,
    read_any_format,
    read_instruction,
)
from factory.synthesis.opening import SourceFile
from factory.synthesis.personas import cast_columns, read_cast_member
from factory.synthesis.profiles import ProfileCheck, parse_profile, profile_ids, prompt_text, render_profile

DETECTION_ROWS = 1000
"""Rows that may come before the first row with a detectable format."""


def ingest_personas(config: RunConfig, progress: Progress) -> Table:
    """Build the table of clean, distinct personas from files."""
    files, limit = persona_files(config), config.personas.limit
    table = layout.PERSONAS.table(config.output)
    settings = {"column": config.personas.column} | config.personas.cast
    manifest = ingest_files(persona_kind(config), files, limit, table, settings, progress)
    check_not_empty(manifest["ok"], manifest["rows_in"], manifest["rejected"], "personas.source")
    if config.profiles.source is None:
        check_enough_characters(config, manifest["ok"], "distinct personas")
    return table


def persona_kind(config: RunConfig) -> InputKind:
    """Return how personas are read."""
    settings = config.personas
    return InputKind(
        PERSONAS,
        "character_id",
        partial(_persona, settings),
        cast_columns(settings),
        quotas=settings.quotas,
        has_unique_keys=settings.unique is not None,
    )


def _persona(settings: Personas, raw: RawRow, source: int) -> Any:
    return read_cast_member(raw.value, settings)


def persona_files(config: RunConfig) -> list[SourceFile]:
    """Return the files of personas, after checking that the first one has the column."""
    files = not_empty(find_files(config.personas.source))
    for column in cast_columns(config.personas):
        check_column(files[0].path, column, "personas.column" if column == config.personas.column else "personas")
    return files


def ingest_instructions(config: RunConfig, corpus: Instructions, progress: Progress) -> Table:
    """Build the table of a corpus's clean, distinct instructions from files."""
    files, form = instruction_files(config, corpus)
    table = layout.INSTRUCTIONS.table(config.output, corpus=corpus.corpus)
    settings = {"corpus": corpus.corpus, "format": form}
    manifest = ingest_files(instruction_kind(corpus, form), files, corpus.limit, table, settings, progress)
    check_not_empty(manifest["ok"], manifest["rows_in"], manifest["rejected"], f"instructions ({corpus.corpus})")
    return table


def instruction_kind(corpus: Instructions, form: str) -> InputKind:
    """Return how the instructions of a corpus are read, whose first rows are in this format."""
    if corpus.format == "auto":
        return InputKind(INSTRUCTIONS, "instruction_id", partial(_any_format, form, corpus.corpus), COLUMNS)
    read = partial(_instruction, form, corpus.corpus)
    return InputKind(INSTRUCTIONS, "instruction_id", read, FORMATS[form].columns)


def _any_format(form: str, corpus: str, raw: RawRow, source: int) -> Any:
    return read_any_format(raw.value, form, corpus, source, raw.row)


def _instruction(form: str, corpus: str, raw: RawRow, source: int) -> Any:
    return read_instruction(raw.value, form, corpus, source, raw.row)


def instruction_files(config: RunConfig, corpus: Instructions) -> tuple[list[SourceFile], str]:
    """Return the files of a corpus and their format.

    Raises:
        InputError: the first rows have no known format, or not the configured one.
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
        for column in FORMATS[form].required:
            check_column(files[0].path, column, "instructions.format")
    return files, form


def _format_of_first(path: str) -> str:
    """Return the format of the first row that has a known one.

    Raises:
        InputError: none of the first rows has.
    """
    unknown: dict[Any, Any] | None = None
    for raw in itertools.islice(read_rows(path, COLUMNS), DETECTION_ROWS):
        if form := detect_format(raw.value):
            return form
        if unknown is None and isinstance(raw.value, dict):
            unknown = raw.value
    if unknown is None:
        check_column(path, "messages")
        raise InputError(f"{path}: plain text has no instructions; use objects in one of these formats: {KNOWN}")
    raise InputError(
        f"{path}: the columns {names_in(unknown)} fit no format, or more than one; "
        f"rename them, or set instructions.format: {KNOWN}"
    )


def check_not_empty(accepted: int, rows: int, rejected: dict[str, int], source: str) -> None:
    """Check that a source has an accepted row.

    Raises:
        InputError: it has none.
    """
    if not accepted:
        raise InputError(f"{source}: none of {rows} rows can be used: {json.dumps(rejected)}")


def make_profiles(
    config: RunConfig,
    model: Located,
    personas: Table,
    progress: Progress,
    name: str = layout.PROFILES.name(),
    given: Table | None = None,
) -> Table:
    """Build the table of profiles: every persona gives a profile or a reject, and given ones are accepted rows."""
    personas_of_run = config.personas_section if name == layout.PROFILES.name() else None
    fixed = tuple(personas_of_run.facts) if personas_of_run else ()
    has_facts = personas_of_run is not None and bool(personas_of_run.facts or personas_of_run.draw)
    prompt = load_prompt("profile-facts" if has_facts else "profile", config.prompt_places)
    language = config.profiles.language
    settings: dict[str, Any] = {"language": language}
    if personas_of_run and personas_of_run.cast:
        settings["cast"] = personas_of_run.cast
    ends_sentences = config.profiles.ending == "sentence" and config.engine.kind == "vllm"
    rules = config.profiles.rules
    settings |= ({"rules": rules} if rules == "reject" else {}) | ({"ending": "sentence"} if ends_sentences else {})
    check = ProfileCheck(rules, prompt_text(prompt))
    parse = partial(parse_profile, language, fixed=fixed, check=check, own=prompt.fields)
    attempts = config.profiles.attempts
    settings |= {"attempts": attempts} if attempts > 1 else {}
    step = GenerationStep(
        record=Persona,
        schema=PROFILES,
        prompt=prompt.ref,
        render=partial(render_profile, prompt, language, ends_sentences=ends_sentences, attempts=attempts, parse=parse),
        parse=parse,
        ids=profile_ids,
    )
    engine = EngineUse(config.engine, config.profiles.sampling, config.seed, model)
    given_rows = (given.manifest() or {})["ok"] if given else 0
    accept = profiles_to_accept(config.accept, given_rows) if name == layout.PROFILES.name() else None
    job = TableJob(step, personas, Table(config.output, name), settings, engine, given, accept=accept)
    if name == layout.PROFILES.name():
        job = replace(job, summarize=partial(cast_fields, config.alarms))
    run_jobs([job], progress)
    return job.table


def check_enough_characters(config: RunConfig, characters: int, what: str) -> None:
    """Check that there are enough characters for `characters_per_instruction`.

    Raises:
        ConfigError: there are fewer.
    """
    n = config.dialogues.characters_per_instruction
    if config.instructions and n > characters:
        raise ConfigError(
            f"dialogues.characters_per_instruction is {n}, but there are {characters} {what}; "
            "lower it or add more personas"
        )


def assign_instructions(config: RunConfig, instructions: Table, profiles: Table, progress: Progress) -> Table:
    """Build the assignments of a corpus: every instruction with each of its characters.

    Raises:
        ConfigError: there are fewer characters than `characters_per_instruction`.
    """
    check_enough_characters(config, (profiles.manifest() or {})["ok"], "accepted profiles")
    n = config.dialogues.characters_per_instruction
    corpus = (layout.INSTRUCTIONS.parts(instructions.name) or {})["corpus"]
    table = layout.ASSIGNMENTS.table(config.output, corpus=corpus)
    assign_characters(instructions, profiles, table, n, config.seed, progress)
    return table

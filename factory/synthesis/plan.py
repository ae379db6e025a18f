"""What a run would do: the dry run checks everything that a run checks, and generates nothing."""

import itertools
import os
from collections.abc import Sequence
from dataclasses import dataclass

from rich.table import Table as Grid

from factory import storage
from factory.config import OpenAIEngine, RunConfig, Sampling
from factory.errors import UnreachableError
from factory.job import locate_model
from factory.progress import Progress
from factory.prompts import load_prompt
from factory.records import Message, Reject
from factory.synthesis.formats import RawRow
from factory.synthesis.instructions import read_instruction
from factory.synthesis.sources import SourceFile, read_rows
from factory.synthesis.steps import check_cast, dialogues_table, instruction_files, persona_files

SAMPLE = 1000
CHARACTERS_A_TOKEN = 4
PROFILE_CHARACTERS = 1700
"""The paper's profiles, persona included, come to about 1.7 kB."""
REPLY_TOKENS = 250
"""A middling reply; the plan says `about`, and a pilot run with --limit says better."""


@dataclass(frozen=True)
class Sample:
    """The first rows of a source, and what they say of all of it."""

    rows: int
    exact: bool
    characters: float
    """A row, on average."""
    turns: float = 1
    """User turns a row, on average."""

    def shown(self) -> str:
        """The number of rows, marked where it is an estimate."""
        return f"{self.rows:,}" if self.exact else f"about {self.rows:,}"


def check(config: RunConfig) -> None:
    """Check prompts, inputs, as far as their first rows tell, and the engine's model.

    Raises:
        UserError: what a run would stop at.
    """
    _check_prompts(config)
    persona_files(config)
    for corpus in config.instructions:
        instruction_files(config, corpus)
    locate_model(config.engine)


def _check_prompts(config: RunConfig) -> None:
    for name in ("profile", "training-system", *(f"dialogue-{s}" for s in config.dialogues.strategies)):
        load_prompt(name, config.prompts_dir)


def plan(config: RunConfig, progress: Progress) -> None:
    """Check config, prompts, model, inputs and output, and print rows, calls and tokens.

    A remote place that does not answer is noted, since a plan may be made away from the cluster.

    Raises:
        UserError: what a run would stop at.
    """
    notes: list[str] = []
    _check_prompts(config)
    storage.check_writable(config.output)
    model = model_told(config, notes)
    personas = sample_personas(config, notes)
    if personas and personas.exact:
        check_cast(config, personas.rows, "personas")
    corpora = [(corpus, sample_instructions(config, index, notes)) for index, corpus in enumerate(config.instructions)]
    grid = Grid(title="Plan", title_justify="left", box=None, padding=(0, 2, 0, 0))
    for column in ("table", "rows", "calls", "tokens in, about", "tokens out, about"):
        grid.add_column(column, justify="left" if column == "table" else "right")
    _add(
        grid,
        "profiles",
        personas,
        1,
        len(load_prompt("profile", config.prompts_dir).text),
        config.profiles.sampling,
        450,
    )
    for corpus, sample in corpora:
        for strategy in config.dialogues.strategies:
            n = config.dialogues.characters_per_instruction
            prompt = len(load_prompt(f"dialogue-{strategy}", config.prompts_dir).text) + PROFILE_CHARACTERS
            calls = 1 if strategy == "rewrite" else (sample.turns if sample else 1)
            out = round(REPLY_TOKENS * (sample.turns if sample and strategy == "rewrite" else 1))
            _add(
                grid, dialogues_table(strategy, corpus.corpus), sample, n, prompt, config.dialogues.sampling, out, calls
            )
    progress.show(grid)
    progress.say(f"Engine: {config.engine.kind}, model {model}")
    progress.say(f"Output: {config.output} (can be written)")
    for note in notes:
        progress.say(f"Not checked from here: {note}")


def model_told(config: RunConfig, notes: list[str]) -> str:
    """The engine's model in words; what could not be reached is added to the notes.

    Raises:
        ModelError: it cannot be had.
    """
    key_env = config.engine.api_key_env if isinstance(config.engine, OpenAIEngine) else None
    if key_env and key_env not in os.environ:
        notes.append(f"model {config.engine.model!r}: a run needs ${key_env}, which is not set")
    else:
        try:
            located = locate_model(config.engine)
            return f"{located.ref} (revision {located.revision})"
        except UnreachableError as problem:
            notes.append(str(problem))
    return f"{config.engine.model} (not checked)"


def _add(
    grid: Grid,
    name: str,
    sample: Sample | None,
    times: int,
    prompt: int,
    sampling: Sampling,
    out: int,
    calls_a_row: float = 1,
) -> None:
    if sample is None:
        grid.add_row(name, "unknown", "unknown", "unknown", "unknown")
        return
    rows = Sample(sample.rows * times, sample.exact, sample.characters)
    calls = round(rows.rows * calls_a_row)
    tokens_in = round(calls * (prompt + sample.characters) / CHARACTERS_A_TOKEN)
    grid.add_row(name, rows.shown(), f"{calls:,}", f"{tokens_in:,}", f"{calls * min(out, sampling.max_tokens):,}")


def sample_personas(config: RunConfig, notes: list[str]) -> Sample | None:
    """The first personas of the source; what could not be reached is added to the notes."""
    try:
        files = persona_files(config)
    except UnreachableError as problem:
        notes.append(str(problem))
        limit = config.personas.limit
        return Sample(limit, False, 120) if limit else None
    rows, raws = _sample_rows(files, config.personas.limit)
    characters = sum(len(str(raw.value)) for raw in raws) / max(1, len(raws))
    return Sample(rows[0], rows[1], characters)


def sample_instructions(config: RunConfig, index: int, notes: list[str]) -> Sample | None:
    """The first instructions of a corpus; what could not be reached is added to the notes."""
    corpus = config.instructions[index]
    try:
        files, form = instruction_files(config, corpus)
    except UnreachableError as problem:
        notes.append(str(problem))
        return Sample(corpus.limit, False, 300) if corpus.limit else None
    rows, raws = _sample_rows(files, corpus.limit)
    read = [read_instruction(raw.value, form, corpus.corpus, 0, raw.row) for raw in raws if not raw.error]
    messages = [instruction.messages for instruction in read if not isinstance(instruction, Reject)]
    return Sample(
        *rows, characters=_mean([_characters(m) for m in messages]), turns=_mean([(len(m) + 1) // 2 for m in messages])
    )


def _characters(messages: Sequence[Message]) -> int:
    return sum(len(m.content) for m in messages)


def _mean(numbers: Sequence[int]) -> float:
    return sum(numbers) / max(1, len(numbers))


def _sample_rows(files: Sequence[SourceFile], limit: int | None) -> tuple[tuple[int, bool], list[RawRow]]:
    """How many rows there are (and whether that was counted), and the first ones."""
    everything = itertools.chain.from_iterable(map(read_rows, files))
    first = list(itertools.islice(everything, min(SAMPLE, limit or SAMPLE)))
    if limit == len(first):
        return (limit, True), first
    counted = len(first) + sum(1 for _ in itertools.islice(everything, min(100_000, limit or 100_000) - len(first)))
    if counted < min(100_000, limit or 100_001):
        return (counted, True), first
    if limit and counted == limit:
        return (limit, True), first
    size = sum(file.size for file in files)
    a_row = sum(len(str(raw.value)) for raw in first) / len(first)
    guess = round(size / max(1.0, a_row))
    return (min(guess, limit or guess), False), first

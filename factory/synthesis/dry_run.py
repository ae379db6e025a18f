"""The dry run of synthesis: check everything that a run checks, and generate nothing."""

from rich.table import Table as Grid

from factory.config import RunConfig, Sampling
from factory.errors import UnreachableError
from factory.inference.engines.registry import backend_for
from factory.inference.locate import locate_model
from factory.inference.prompts import load_prompt
from factory.run_output import layout
from factory.runtime.progress import Progress
from factory.storage import file_io
from factory.synthesis.input_sample import Preview, preview_instructions, preview_personas, show_previews
from factory.synthesis.steps import check_enough_characters, instruction_files, persona_files

CHARACTERS_PER_TOKEN = 4
PROFILE_CHARACTERS = 1700
"""Average size of the paper's profiles with their personas."""
PROFILE_TOKENS = 450
REPLY_TOKENS = 250
"""Assumed length of a reply; a pilot run with --limit gives a better estimate."""


def check(config: RunConfig) -> None:
    """Check the prompts, the first rows of the inputs, and the engine's model.

    Raises:
        UserError: a run would stop with it.
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
    """Check prompts, model, inputs and output, and print usable rows, calls and tokens.

    Remote storage that does not answer only gives a note, because the dry run may happen outside the cluster.

    Raises:
        UserError: a run would stop with it.
    """
    notes: list[str] = []
    _check_prompts(config)
    file_io.check_writable(config.output)
    model = find_model(config, notes)
    personas = preview_personas(config, notes)
    if personas and personas.whole:
        check_enough_characters(config, personas.accepted, "distinct personas")
    corpora = [preview_instructions(config, index, notes) for index in range(len(config.instructions))]
    show_previews(config, personas, corpora, progress)
    grid = Grid(title="Plan", title_justify="left", box=None, padding=(0, 2, 0, 0))
    for column in ("table", "rows", "calls", "tokens in, about", "tokens out, about"):
        grid.add_column(column, justify="left" if column == "table" else "right")
    prompt = len(load_prompt("profile", config.prompts_dir).text)
    _add_table(grid, layout.PROFILES.name(), personas, 1, prompt, config.profiles.sampling, PROFILE_TOKENS)
    for corpus, (sample, _) in zip(config.instructions, corpora, strict=True):
        for strategy in config.dialogues.strategies:
            n = config.dialogues.characters_per_instruction
            prompt = len(load_prompt(f"dialogue-{strategy}", config.prompts_dir).text) + PROFILE_CHARACTERS
            calls = 1 if strategy == "rewrite" else (sample.turns if sample else 1)
            out = round(REPLY_TOKENS * (sample.turns if sample and strategy == "rewrite" else 1))
            name = layout.DIALOGUES.name(strategy=strategy, corpus=corpus.corpus)
            _add_table(grid, name, sample, n, prompt, config.dialogues.sampling, out, calls)
    progress.show(grid)
    progress.print(f"Engine: {config.engine.kind}, model {model}")
    progress.print(f"Output: {config.output} (can be written)")
    for note in notes:
        progress.print(f"Not checked from here: {note}")


def find_model(config: RunConfig, notes: list[str]) -> str:
    """Return the engine's model for display; unreachable storage is added to the notes.

    Raises:
        ModelError: the model cannot be used.
    """
    if variable := backend_for(config.engine).missing_variable():
        notes.append(f"model {config.engine.model!r}: a run needs ${variable}, which is not set")
    else:
        try:
            located = locate_model(config.engine)
            return f"{located.ref} (revision {located.revision})"
        except UnreachableError as problem:
            notes.append(str(problem))
    return f"{config.engine.model} (not checked)"


def _add_table(
    grid: Grid,
    name: str,
    sample: Preview | None,
    times: int,
    prompt: int,
    sampling: Sampling,
    out: int,
    calls_per_row: float = 1,
) -> None:
    if sample is None:
        grid.add_row(name, "unknown", "unknown", "unknown", "unknown")
        return
    rows = sample.usable * times
    calls = round(rows * calls_per_row)
    tokens_in = round(calls * (prompt + sample.characters) / CHARACTERS_PER_TOKEN)
    shown = f"{rows:,}" if sample.whole else f"about {rows:,}"
    grid.add_row(name, shown, f"{calls:,}", f"{tokens_in:,}", f"{calls * min(out, sampling.max_tokens):,}")

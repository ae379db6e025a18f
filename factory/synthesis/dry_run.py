"""The dry run of synthesis: check everything that a run checks, and generate nothing."""

from typing import Any

from rich.table import Table as Grid

from factory.config import RunConfig, Strategy
from factory.errors import UnreachableError
from factory.inference.engines.registry import backend_for
from factory.inference.locate import locate_model
from factory.inference.prompts import load_prompt, own_prompts
from factory.inference.token_estimates import (
    CHARACTERS_PER_TOKEN,
    PERSONA_CHARACTERS,
    PROFILE_CHARACTERS,
    PROFILE_TOKENS,
    REPLY_CHARACTERS,
    REPLY_TOKENS,
    VERDICT_TOKENS,
    RowTokens,
    cost_line,
)
from factory.run_output import layout
from factory.runtime.progress import Progress
from factory.storage import file_io
from factory.synthesis.accept_goals import accept_lines
from factory.synthesis.given.given_steps import given_files
from factory.synthesis.input_sample import (
    Preview,
    preview_given,
    preview_instructions,
    preview_personas,
    show_previews,
)
from factory.synthesis.steps import check_enough_characters, instruction_files, persona_files


def check(config: RunConfig) -> None:
    """Check the prompts, the first rows of the inputs, and the engine's model.

    Raises:
        UserError: a run would stop with it.
    """
    for name in _prompt_names(config):
        load_prompt(name, config.prompt_places)
    if config.has_personas:
        persona_files(config)
    if config.profiles.source:
        given_files(config)
    for corpus in config.instructions:
        instruction_files(config, corpus)
    locate_model(config.engine)


def _prompt_names(config: RunConfig) -> list[str]:
    personas = config.personas_section
    facts = ["profile-facts"] if personas and (personas.facts or personas.draw) else []
    judge = ["judge-replies"] if config.dialogues.candidates > 1 else []
    return ["profile", *facts, "training-system", *(f"dialogue-{s}" for s in config.dialogues.strategies), *judge]


def plan(config: RunConfig, progress: Progress) -> None:
    """Check prompts, model, inputs and output, and print usable rows, calls and tokens.

    Remote storage that does not answer only gives a note, because the dry run may happen outside the cluster.

    Raises:
        UserError: a run would stop with it.
    """
    notes: list[str] = []
    prompts = own_prompts(_prompt_names(config), config.prompt_places)
    file_io.check_writable(config.output)
    model = find_model(config, notes)
    personas = preview_personas(config, notes) if config.has_personas else None
    given = preview_given(config, notes) if config.profiles.source else None
    sources = [one for one, is_read in ((personas, config.has_personas), (given, config.profiles.source)) if is_read]
    if all(one and one.whole for one in sources):
        what = "distinct personas" if config.profiles.source is None else "distinct personas and given profiles"
        check_enough_characters(config, sum(one.accepted for one in sources if one), what)
    corpora = [preview_instructions(config, index, notes) for index in range(len(config.instructions))]
    show_previews(config, personas, given, corpora, progress)
    grid = Grid(title="Plan", title_justify="left", box=None, padding=(0, 2, 0, 0))
    for column in ("table", "rows", "calls", "tokens in, about", "tokens out, about"):
        grid.add_column(column, justify="left" if column == "table" else "right")
    cost = 0.0
    if config.has_personas:
        cost += _add_table(grid, config.engine, layout.PROFILES.name(), personas, profile_tokens(config, personas))
    for corpus, (sample, _) in zip(config.instructions, corpora, strict=True):
        for strategy in config.dialogues.strategies:
            parts = {"strategy": strategy, "corpus": corpus.corpus}
            times, n = config.dialogues.characters_per_instruction, config.dialogues.candidates
            name = (layout.CANDIDATES if n > 1 else layout.DIALOGUES).name(**parts)
            calls = 1 if strategy == "rewrite" else (sample.turns if sample else 1)
            tokens = dialogue_tokens(config, strategy, sample)
            cost += _add_table(grid, config.engine, name, sample, tokens, times * n, calls)
            if config.dialogues.choose and n > 1:
                name, judge = layout.COMPARISONS.name(**parts), config.dialogues.choose.judge
                cost += _add_table(grid, judge, name, sample, comparison_tokens(config, sample), times * n * (n - 1))
    progress.show(grid)
    for line in accept_lines(config.accept):
        progress.print(line)
    if line := cost_line(cost):
        progress.print(line)
    progress.print(f"Engine: {config.engine.kind}, model {model}")
    for line in prompts:
        progress.print(line)
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


def profile_tokens(config: RunConfig, personas: Preview | None) -> RowTokens:
    """Return about how many tokens a profile takes; without a preview for personas of the usual length."""
    characters = personas.characters if personas else PERSONA_CHARACTERS
    prompt = len(load_prompt("profile", config.prompt_places).text)
    return RowTokens.of(prompt + characters, PROFILE_TOKENS, config.profiles.sampling)


def dialogue_tokens(config: RunConfig, strategy: Strategy, sample: Preview | None) -> RowTokens:
    """Return about how many tokens a dialogue takes; without a preview for one turn of the usual length."""
    characters, turns = (sample.characters, sample.turns) if sample else (REPLY_CHARACTERS, 1.0)
    characters += len(load_prompt(f"dialogue-{strategy}", config.prompt_places).text) + PROFILE_CHARACTERS
    if strategy == "rewrite":
        return RowTokens.of(characters, REPLY_TOKENS * turns, config.dialogues.sampling)
    return RowTokens.of(characters, REPLY_TOKENS, config.dialogues.sampling, calls=turns)


def comparison_tokens(config: RunConfig, sample: Preview | None) -> RowTokens:
    """Return about how many tokens a judge takes to compare two dialogues of an assignment."""
    assert config.dialogues.choose is not None
    characters, turns = (sample.characters, sample.turns) if sample else (REPLY_CHARACTERS, 1.0)
    characters += len(load_prompt("judge-replies", config.prompt_places).text) + PROFILE_CHARACTERS
    replies = 2 * turns * REPLY_TOKENS * CHARACTERS_PER_TOKEN
    return RowTokens.of(characters + replies, VERDICT_TOKENS, config.dialogues.choose.sampling)


def _add_table(
    grid: Grid,
    engine: Any,
    name: str,
    sample: Preview | None,
    tokens: RowTokens,
    times: int = 1,
    calls_per_row: float = 1,
) -> float:
    """Add a table to the plan, and return what it costs."""
    if sample is None:
        grid.add_row(name, "unknown", "unknown", "unknown", "unknown")
        return tokens.cost(engine, 1) and float("nan")
    rows = sample.usable * times
    shown = f"{rows:,}" if sample.whole else f"about {rows:,}"
    numbers = (rows * calls_per_row, rows * tokens.prompt, rows * tokens.output)
    grid.add_row(name, shown, *(f"{round(number):,}" for number in numbers))
    return tokens.cost(engine, rows)

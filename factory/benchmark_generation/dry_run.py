"""The dry run of generating a benchmark."""

from collections.abc import Sequence

from rich.table import Table as Grid

from factory.benchmark_generation.generation_steps import PROMPTS, available_settings, check_prompts
from factory.config import RunConfig
from factory.inference.prompts import load_prompt, own_prompts
from factory.inference.token_estimates import PERSONA_CHARACTERS, RowTokens, cost_line
from factory.personagym import TASKS
from factory.runtime.progress import Progress
from factory.storage import file_io

SETTING_TOKENS, QUESTION_TOKENS = 10, 40
"""Assumed lengths of a setting's name and of a question."""


def plan(
    config: RunConfig, personas: int | None, exact: bool, model: str, notes: Sequence[str], progress: Progress
) -> None:
    """Check prompts, settings and output, and print personas, calls and model.

    Args:
        config: the run's settings.
        personas: their number, None where it is unknown.
        exact: whether they were counted.
        model: the engine's model in words.
        notes: on services that could not be reached.
        progress: prints the plan.

    Raises:
        UserError: something would stop a run.
    """
    check_prompts(config)
    file_io.check_writable(config.output)
    generation = config.benchmark_generation
    grid = Grid(title="Plan", title_justify="left", box=None, padding=(0, 2, 0, 0))
    for column in ("table", "personas", "calls", "per persona"):
        grid.add_column(column, justify="left" if column in ("table", "per persona") else "right")

    def about(number: int) -> str:
        return "unknown" if personas is None else f"{number:,}" if exact else f"about {number:,}"

    rows = personas or 0
    chosen = f"{generation.settings_per_persona} of {len(available_settings())} settings"
    written = f"{generation.questions_per_task} for each of {len(TASKS)} tasks"
    grid.add_row("settings", about(rows), about(rows), chosen)
    grid.add_row("questions", about(rows), about(rows * len(TASKS)), written)
    progress.show(grid)
    if line := cost_line(_cost(config, float("nan") if personas is None else personas)):
        progress.print(line)
    progress.print(f"Engine: {config.engine.kind}, model {model}")
    for line in own_prompts(PROMPTS, config.prompt_places):
        progress.print(line)
    progress.print(f"Output: {config.output} (can be written)")
    for note in notes:
        progress.print(f"Not checked from here: {note}")


def _cost(config: RunConfig, personas: float) -> float:
    """Return about what a benchmark costs, in US dollars: calls for the settings of each persona, and for each task."""
    generation, texts = config.benchmark_generation, [len(load_prompt(n, config.prompt_places).text) for n in PROMPTS]
    offered = sum(map(len, available_settings()))
    settings, questions = (
        generation.settings_per_persona * SETTING_TOKENS,
        generation.questions_per_task * QUESTION_TOKENS,
    )
    chosen = RowTokens.of(texts[0] + offered + PERSONA_CHARACTERS, settings, generation.sampling)
    written = RowTokens.of(texts[1] + PERSONA_CHARACTERS, questions, generation.sampling, calls=len(TASKS))
    per_persona = chosen.cost(config.engine, 1000) + written.cost(config.engine, 1000)
    return per_persona and personas * per_persona / 1000

"""A few characters and their dialogues on the terminal, by the run's own engine and prompts; no table is kept.

character-factory preview demo [-n 3] [section.key=value ...]
"""

import tempfile
from collections.abc import Iterator

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.panel import Panel
from rich.text import Text

from factory.cli import Parser, quiet, with_absolute_paths
from factory.commands.synthesize import STEP
from factory.config import RunConfig
from factory.errors import ConfigError
from factory.job import run_step
from factory.run_output import layout
from factory.runtime.progress import Progress
from factory.storage.rows import Row
from factory.storage.tables import Table

SHOWN = 600
"""Characters of a message; the rest is cut."""


def run() -> None:
    """Read the command line, run the first rows in a temporary folder, and print them.

    Raises:
        UserError: the config, an input or the model is wrong.
    """
    parser = Parser(__doc__)
    parser.add_argument("-n", type=int, default=3, metavar="N", help="characters and instructions (default: 3)")
    parser.add_argument("--verbose", action="store_true", help="show the output of Ray, vLLM and the workers")
    arguments, config = parser.parse()
    console, progress = Console(), Progress()  # made before `quiet` redirects the output of libraries
    with quiet(arguments.verbose), tempfile.TemporaryDirectory(prefix="character-factory-preview-") as folder:
        few = _few(with_absolute_paths(config), arguments.n, folder)
        run_step(STEP, few, progress, verbose=arguments.verbose)
        shown = list(_shown(few))
    for part in shown:
        console.print(part)
    console.print(f"Nothing was kept. character-factory synthesize {arguments.config} writes all rows.")


def _few(config: RunConfig, rows: int, output: str) -> RunConfig:
    if rows < 1:
        raise ConfigError(f"-n is {rows}; it must be at least 1")
    characters = min(rows, config.dialogues.characters_per_instruction)
    dialogues = config.dialogues.model_copy(update={"characters_per_instruction": characters})
    return config.limited(rows).model_copy(update={"output": output, "dialogues": dialogues})


def _shown(config: RunConfig) -> Iterator[RenderableType]:
    """Yield a panel for each character, with its dialogues, and what was rejected."""
    dialogues: dict[str, list[Row]] = {}
    rejected: list[Row] = []
    for corpus in config.instructions:
        for strategy in config.dialogues.strategies:
            table = layout.DIALOGUES.table(config.output, strategy=strategy, corpus=corpus.corpus)
            for row in _rows(table):
                rows = dialogues.setdefault(row["character_id"], []) if row["status"] == "ok" else rejected
                rows.append(row)
    for row in _rows(layout.PROFILES.table(config.output)):
        if row["status"] == "ok":
            yield _character(row, dialogues.get(row["character_id"], []))
        else:
            rejected.append(row)
    for row in rejected:
        yield Text(f"rejected, {row['reason']}: {_cut(row['detail'] or '')}", style="yellow")


def _rows(table: Table) -> list[Row]:
    return [row for shard in table.shards() for row in table.read(shard).to_pylist()]


def _character(profile: Row, dialogues: list[Row]) -> Panel:
    parts: list[RenderableType] = [Text(profile["profile"])]
    for dialogue in dialogues:
        turns = [message for message in dialogue["messages"] if message["role"] != "system"]
        lines = Text("\n").join(_turn(turn, profile["name"]) for turn in turns)
        parts += [Text(f"\n{dialogue['strategy']}", style="dim"), Padding(lines, (0, 0, 0, 2))]
    return Panel(Group(*parts), title=Text(profile["persona"]), title_align="left")


def _turn(turn: Row, name: str) -> Text:
    speaker, style = (name, "bold cyan") if turn["role"] == "assistant" else ("User", "bold")
    return Text.assemble((f"{speaker}: ", style), _cut(turn["content"]))


def _cut(text: str) -> str:
    return text if len(text) <= SHOWN else f"{text[:SHOWN]} ..."

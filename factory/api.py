"""The factory in a notebook or a script: load a config, run a step, read a table.

from factory import api

config = api.load("demo", "output=runs/notebook", "personas.limit=8")
api.run("synthesize", config)
api.table(config, "profiles").to_pandas()
"""

import importlib

import pyarrow as pa

from factory.cli import COMMANDS, config_path, quiet, with_absolute_paths
from factory.config import RunConfig
from factory.config.loading import load_config
from factory.errors import InputError
from factory.job import JobStep, run_step
from factory.runtime.progress import Progress
from factory.storage.tables import Table


def load(config: str, *overrides: str) -> RunConfig:
    """Read a config file or a built-in config, with overrides such as "personas.limit=8".

    Raises:
        ConfigError: the config or an override is wrong.
    """
    return with_absolute_paths(load_config(config_path(config), overrides))


def run(step: str, config: RunConfig, *, verbose: bool = False) -> None:
    """Run a step that writes tables ("synthesize", "curate", "train", "evaluate", ...) in this process.

    What is finished is skipped, and what was interrupted is resumed, as on the command line.

    Raises:
        FactoryError: there is no such step, or it fails.
    """
    found = _step(step) if step in COMMANDS else None
    if found is None:
        raise InputError(f"step {step!r}: give one that writes tables, such as synthesize, curate, train or evaluate")
    progress = Progress()
    with quiet(verbose):
        run_step(found, config, progress, verbose=verbose)
        progress.summary()


def table(config: RunConfig, name: str) -> pa.Table:
    """Return all rows of a table, such as "profiles" or "curated/train"; it must fit in memory.

    Raises:
        InputError: there is no such table.
    """
    found = Table(config.output, name)
    shards = found.shards()
    if not shards:
        raise InputError(f"{found.path}: there is no such table yet; run the step that builds it")
    return pa.concat_tables(found.read(shard) for shard in shards)


def _step(command: str) -> JobStep | None:
    module = importlib.import_module(f"factory.commands.{command.replace('-', '_')}")
    return getattr(module, "STEP", None)

"""The command `character-factory`, and what all of its steps share: config arguments, exit status, one-line errors.

Exit status: 0 done; 2 a user error, in one line; 1 anything else.
"""

import argparse
import importlib
import os
import signal
import sys
import tempfile
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import NoReturn

from factory.config import RunConfig
from factory.config.loading import load_config
from factory.errors import ConfigError, FactoryError, Stopped, UserError
from factory.resources import RESOURCES
from factory.runtime.shutdown import RESUME_HINT
from factory.storage.absolute_paths import input_path, output_path
from factory.text.redaction import redact_urls

CONFIGS = RESOURCES / "jobs" / "configs"
COMMANDS = {
    "init": "write a commented config to start from",
    "preview": "a few characters and dialogues on the terminal; nothing is kept",
    "synthesize": "personas and instructions to profiles and dialogues",
    "curate": "dialogues to the curated training and validation sets",
    "train": "curated dialogues to checkpoints and a model",
    "evaluate": "candidates to their PersonaGym scores",
    "report": "a run to one HTML page",
    "export": "curated dialogues to files for other tools, with a data set card",
    "compare": "two candidates answer by answer: wins, losses, and what changed most",
    "export-scores": "scores as a model card's metadata, an inspect_ai log, or results of lm-evaluation-harness",
    "push-model": "the trained model of a run to a repository on the Hugging Face Hub",
    "chat": "a page to create characters and talk to them",
    "plan": "calls, tokens, hours and cost of a run, before it runs",
    "tune": "the fastest vLLM settings for a run, written into its config",
    "trace": "where a row comes from, and what became of it",
    "prune": "list or delete tables that changed settings archived",
    "judge-check": "how reliable each judge is",
    "label": "a page on which people score answers",
    "calibrate": "judges against people's labels, and means corrected by them",
    "judges-up": "start a fleet of judges that stays up",
    "judges-down": "stop it",
    "generate-benchmark": "personas to a new benchmark",
    "freeze-benchmark": "a benchmark with its example replies, for all runs",
}
"""Every step; each is a module of `factory/commands/`, with - for _, that has a function `run`."""


def console() -> None:
    """Run `character-factory COMMAND ...`, as installed by the package."""
    command, *rest = sys.argv[1:] or ["--help"]
    if command in ("-h", "--help"):
        print(_overview())
    elif command not in COMMANDS:
        exit_with_error_line(lambda: _refuse(command))
    else:
        sys.argv = [f"character-factory {command}", *rest]
        main(command)


def main(command: str) -> None:
    """Run a step with the arguments in `sys.argv`, and exit with its status."""
    exit_with_error_line(importlib.import_module(f"factory.commands.{command.replace('-', '_')}").run)


def _overview() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:{width}}  {what}" for name, what in COMMANDS.items()]
    return "\n".join(
        [
            "usage: character-factory COMMAND CONFIG [section.key=value ...]",
            "",
            *lines,
            "",
            f"CONFIG is a YAML file or a built-in config: {', '.join(builtin_configs())}.",
            "character-factory COMMAND --help shows the options of a command.",
        ]
    )


def _refuse(command: str) -> NoReturn:
    raise ConfigError(f"no command {command!r}; there are {', '.join(COMMANDS)}")


def builtin_configs() -> list[str]:
    """Return the names of the configs that ship with the factory."""
    return sorted(path.stem for path in CONFIGS.glob("*.yaml"))


class Parser(argparse.ArgumentParser):
    """A command line that takes a config, and whose errors are one line like all others."""

    def __init__(self, description: str | None) -> None:
        super().__init__(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)

    def error(self, message: str) -> NoReturn:
        """Raise instead of printing the usage."""
        raise ConfigError(f"{textwrap.shorten(message, 300, placeholder=' ...')}; --help shows the options")

    def parse(self) -> tuple[argparse.Namespace, RunConfig]:
        """Return the arguments and the settings of the config that they name.

        An option may add overrides to the list `settings`.

        Raises:
            UserError: an argument or the config is wrong.
        """
        self.add_argument("--config", metavar="FILE", help="the config, also as the first argument")
        self.add_argument(
            "overrides",
            nargs="*",
            metavar="CONFIG section.key=value",
            help=f"a YAML file or a built-in config ({', '.join(builtin_configs())}), and settings that override it",
        )
        arguments = self.parse_intermixed_args()
        if arguments.config is None:
            if not arguments.overrides or "=" in arguments.overrides[0]:
                raise ConfigError(f"no config; give a YAML file or a built-in one: {', '.join(builtin_configs())}")
            arguments.config = arguments.overrides.pop(0)
        arguments.overrides += getattr(arguments, "settings", None) or []
        return arguments, load_config(config_path(arguments.config), arguments.overrides)


def config_path(name: str) -> str:
    """Return the path of a config: a file's own, or that of the built-in config of this name."""
    builtin = CONFIGS / f"{name}.yaml"
    return str(builtin) if not Path(name).exists() and builtin.parent == CONFIGS and builtin.is_file() else name


def with_absolute_paths(config: RunConfig) -> RunConfig:
    """Return a config whose local paths are absolute on this machine."""
    return config.with_paths(input_path, output_path)


def exit_with_error_line(run: Callable[[], None]) -> None:
    """Run something; print a failure of ours, or Ctrl-C, as one line and exit with its status."""
    interrupts: list[int] = []
    with _noting(interrupts):
        try:
            run()
        except FactoryError as problem:
            print(error_line(problem), file=sys.stderr, flush=True)
            sys.exit(2 if isinstance(problem, UserError) else 1)
        except BaseException:  # libraries raise other errors because of the interrupt
            if not interrupts:
                raise
            print(error_line(Stopped(f"by Ctrl-C; {RESUME_HINT}")), file=sys.stderr, flush=True)
            sys.exit(1)


@contextmanager
def _noting(interrupts: list[int]) -> Iterator[None]:
    """Record each SIGINT, besides raising KeyboardInterrupt."""

    def interrupted(number: int, frame: FrameType | None) -> None:
        interrupts.append(number)
        signal.default_int_handler(number, frame)

    before = signal.signal(signal.SIGINT, interrupted)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def error_line(problem: FactoryError) -> str:
    """Return the line that ends a failed run."""
    return f"{'stopped' if isinstance(problem, Stopped) else 'error'}: {printable(redact_urls(str(problem)))}"


def printable(text: str) -> str:
    """Return one line that no path or column name in it can break or color."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


@contextmanager
def quiet(verbose: bool) -> Iterator[int]:
    """Keep the output of libraries off the terminal: it goes to a file, that of workers to Ray's log folder.

    The streams themselves are redirected, because Ray's core writes past Python; `Progress` has its own.
    Yields the file descriptor of the terminal's standard error.
    """
    if verbose:
        yield 2
        return
    for name, value in {"TQDM_DISABLE": "1", "VLLM_LOGGING_LEVEL": "WARNING"}.items():
        os.environ.setdefault(name, value)
    terminal = [os.dup(1), os.dup(2)]
    log, _ = tempfile.mkstemp(prefix="character-factory-", suffix=".log")
    for stream in (1, 2):
        os.dup2(log, stream)
    try:
        yield terminal[1]
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for stream, kept in enumerate(terminal, 1):
            os.dup2(kept, stream)
            os.close(kept)
        os.close(log)

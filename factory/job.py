"""What every job script shares: its command line, its exit status, and the Ray that it runs on.

Exit status: 0 done; 2 the user's mistake, told in one line; 1 anything else.
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NoReturn

from factory import lease, models, storage
from factory.config import OpenAIEngine, RunConfig, ScriptedEngine, VllmEngine
from factory.config_file import load_config
from factory.errors import ConfigError, FactoryError, Stopped, UserError
from factory.models import Located
from factory.normalise import without_credentials
from factory.progress import Progress


@dataclass(frozen=True)
class Job:
    """A job that runs: its settings and its display."""

    config: RunConfig
    progress: Progress

    def model(self) -> Located:
        """The engine's model, known to be there.

        Raises:
            ModelError: it cannot be had.
        """
        return locate_model(self.config.engine)


def locate_model(engine: VllmEngine | OpenAIEngine | ScriptedEngine) -> Located:
    """Find an engine's model without loading it; an endpoint is asked whether it answers.

    Raises:
        ModelError: it cannot be had.
        UnreachableError: its place does not answer.
    """
    if isinstance(engine, ScriptedEngine):
        return Located(engine.model, "scripted")
    if isinstance(engine, OpenAIEngine):
        from factory.engine.openai import check_endpoint

        check_endpoint(engine)
        return Located(engine.model, without_credentials(engine.base_url))
    return models.locate(engine.model)


def main(
    run: Callable[[Job], None],
    check: Callable[[RunConfig], None],
    plan: Callable[[RunConfig, Progress], None],
    description: str | None,
    local_cpus: Callable[[RunConfig], int] | None = None,
) -> None:
    """Run a job script and exit.

    Args:
        run: the job.
        check: what can be told to be wrong before Ray takes its seconds to start, missing models included.
        plan: the dry run.
        description: for `--help`.
        local_cpus: the CPUs that a Ray of this machine's own offers, in name; by default its cores.
    """

    def job() -> None:
        progress = Progress()
        arguments = _parse(description)
        config = _config(arguments)
        with quiet(arguments.verbose):
            if arguments.dry_run:
                plan(config, progress)
            else:
                _run(run, check, config, progress, arguments.verbose, local_cpus(config) if local_cpus else 0)

    told(job)


def told(job: Callable[[], None]) -> None:
    """Run something; a failure of ours is told in one line and by the exit status."""
    try:
        job()
    except FactoryError as problem:
        kind = "stopped" if isinstance(problem, Stopped) else "error"
        print(f"{kind}: {_printable(str(problem))}", file=sys.stderr, flush=True)
        sys.exit(2 if isinstance(problem, UserError) else 1)


def _printable(text: str) -> str:
    """One line that no path or column name in it can break or colour."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


class Parser(argparse.ArgumentParser):
    """A command line whose mistakes are told as all others are."""

    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{message}; --help shows what there is")


def _parse(description: str | None) -> argparse.Namespace:
    parser = Parser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", required=True, metavar="FILE", help="the run's settings (YAML)")
    parser.add_argument("--dry-run", action="store_true", help="check everything, print the plan, generate nothing")
    parser.add_argument("--limit", type=int, metavar="N", help="read the first N rows of each source")
    parser.add_argument("--verbose", action="store_true", help="show what Ray, vLLM and the workers say")
    parser.add_argument("overrides", nargs="*", metavar="section.key=value", help="settings laid over the file's")
    return parser.parse_intermixed_args()


def _config(arguments: argparse.Namespace) -> RunConfig:
    config = load_config(arguments.config, arguments.overrides)
    if arguments.limit is not None:
        config = config.limited(arguments.limit)
    return config.with_paths(storage.input_path, storage.output_path)


def _run(
    run: Callable[[Job], None],
    check: Callable[[RunConfig], None],
    config: RunConfig,
    progress: Progress,
    verbose: bool,
    local_cpus: int,
) -> None:
    storage.check_writable(config.output)
    check(config)
    settings = (config.model_dump_json(indent=2) + "\n").encode()
    with lease.held(config.output):
        storage.write_bytes(storage.join(config.output, "config.json"), settings)
        from factory import runtime, stopping

        runtime.start(verbose, local_cpus)
        stopping.listen(progress.say)
        run(Job(config, progress))
        progress.summary()
    progress.say(f"Output: {config.output}")


@contextmanager
def quiet(verbose: bool) -> Iterator[None]:
    """Keep what libraries say off the terminal: it goes to a file, and that of workers to Ray's log folder.

    The streams themselves are redirected, because Ray's core writes past Python; `Progress` has its own.
    """
    if verbose:
        yield
        return
    for name, value in {"TQDM_DISABLE": "1", "VLLM_LOGGING_LEVEL": "WARNING"}.items():
        os.environ.setdefault(name, value)
    terminal = [os.dup(1), os.dup(2)]
    log, _ = tempfile.mkstemp(prefix="character-factory-", suffix=".log")
    for stream in (1, 2):
        os.dup2(log, stream)
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for stream, kept in enumerate(terminal, 1):
            os.dup2(kept, stream)
            os.close(kept)
        os.close(log)

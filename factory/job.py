"""What every job script shares: its command line, its exit status, and the Ray that it runs on.

Exit status: 0 done; 2 the user's mistake, told in one line; 1 anything else.
"""

import argparse
import json
import os
import signal
import sys
import tempfile
import textwrap
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from factory import consent, lease, models, stopping, storage
from factory.aside import Change
from factory.config import EMBEDDED, OpenAIEngine, RunConfig, ScriptedEngine, VllmEngine
from factory.config_file import load_config
from factory.credentials import redacted, scrubbed
from factory.errors import ConfigError, DamagedError, FactoryError, Stopped, UserError
from factory.model_check import check_folder
from factory.models import Located
from factory.progress import Progress, Silent
from factory.stopping import GOES_ON
from factory.tables import SUFFIX, Table

ENDPOINT = "endpoint"
"""In place of a revision, which endpoints do not tell; where one is decides nothing, as it may move."""


@dataclass(frozen=True)
class Job:
    """A job that runs: its settings and its display."""

    config: RunConfig
    progress: Progress
    confirm: Callable[[], None] = lambda: None
    """Look again what is to be set aside, once more is known; to be called before anything is paid for."""

    def model(self) -> Located:
        """The engine's model, known to be there.

        Raises:
            ModelError: it cannot be had.
        """
        return locate_model(self.config.engine)


def locate_model(engine: VllmEngine | OpenAIEngine | ScriptedEngine) -> Located:
    """Find an engine's model without loading it; an endpoint is asked whether it answers.

    Raises:
        ModelError: it cannot be had, or its chat template cannot be used.
        UnreachableError: its place does not answer.
    """
    if isinstance(engine, ScriptedEngine):
        return Located(engine.model, "scripted")
    if isinstance(engine, OpenAIEngine):
        from factory.engine.openai import check_endpoint

        check_endpoint(engine)
        return Located(engine.model, ENDPOINT)
    located = models.locate(engine.model)
    trusted = bool(engine.engine_kwargs.get("trust_remote_code"))
    _check_chat(located, None, trusted)
    return located


def locate_served(model: str, engine_kwargs: Mapping[str, Any]) -> Located:
    """Find a model that this factory serves, without loading it.

    Raises:
        ModelError: it cannot be had, or its chat template cannot be used.
        UnreachableError: its place does not answer.
    """
    located = models.locate(model)
    template = engine_kwargs.get("chat_template")  # vLLM takes a file's name too
    if template and os.path.isfile(template):
        template = Path(template).read_text()
    _check_chat(located, template, bool(engine_kwargs.get("trust_remote_code")))
    return located


@cache
def _check_chat(located: Located, template: str | None, trusted: bool) -> None:
    """Find out now what each row would else meet: a model without a chat template, or with one that refuses us."""
    if located.ref != EMBEDDED:
        check_folder(models.fetch(located.pinned, weights=False), template, trusted=trusted)


def main(
    run: Callable[[Job], None],
    check: Callable[[RunConfig], None],
    plan: Callable[[RunConfig, Progress], None],
    description: str | None,
    local_cpus: Callable[[RunConfig], int] | None = None,
    opens: Callable[[Job], object] | None = None,
) -> None:
    """Run a job script and exit.

    Args:
        run: the job.
        check: what can be told to be wrong before Ray takes its seconds to start, missing models included.
        plan: the dry run.
        description: for `--help`.
        local_cpus: the CPUs that a Ray of this machine's own offers, in name; by default its cores.
        opens: the part of the job that opens its tables; where all are finished, it does nothing else.
    """

    def job() -> None:
        progress = Progress()
        arguments = _parse(description)
        config = _config(arguments)
        with quiet(arguments.verbose) as errors:
            changes = partial(_changes, opens, config)
            if arguments.dry_run:
                plan(config, progress)
                with suppress(UserError):  # the plan told what is wrong, or could not be reached
                    for line in consent.lines(changes()):
                        progress.say(line)
                return

            def confirm() -> None:
                consent.check(changes(), config.output, config.confirm_above_rows, arguments.yes, progress)

            cpus = local_cpus(config) if local_cpus else 0
            _run(run, check, Job(config, progress, confirm), errors, arguments.verbose, cpus)

    told(job)


def told(job: Callable[[], None]) -> None:
    """Run something; a failure of ours is told in one line and by the exit status, and so is Ctrl-C."""
    interrupts: list[int] = []
    with _noting(interrupts):
        try:
            job()
        except FactoryError as problem:
            print(_last_line(problem), file=sys.stderr, flush=True)
            sys.exit(2 if isinstance(problem, UserError) else 1)
        except BaseException:  # libraries make other errors out of the interrupt
            if not interrupts:
                raise
            print(_last_line(Stopped(f"by Ctrl-C; {GOES_ON}")), file=sys.stderr, flush=True)
            sys.exit(1)


@contextmanager
def _noting(interrupts: list[int]) -> Iterator[None]:
    """Note each SIGINT, beside raising KeyboardInterrupt."""

    def interrupted(number: int, frame: FrameType | None) -> None:
        interrupts.append(number)
        signal.default_int_handler(number, frame)

    before = signal.signal(signal.SIGINT, interrupted)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _last_line(problem: FactoryError) -> str:
    return f"{'stopped' if isinstance(problem, Stopped) else 'error'}: {printable(scrubbed(str(problem)))}"


def printable(text: str) -> str:
    """Return one line that no path or column name in it can break or color."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


class Parser(argparse.ArgumentParser):
    """A command line whose mistakes are told as all others are."""

    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{textwrap.shorten(message, 300, placeholder=' ...')}; --help shows what there is")


def _parse(description: str | None) -> argparse.Namespace:
    parser = Parser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", required=True, metavar="FILE", help="the run's settings (YAML)")
    parser.add_argument("--dry-run", action="store_true", help="check everything, print the plan, generate nothing")
    parser.add_argument("--limit", type=int, metavar="N", help="read the first N rows of each source")
    parser.add_argument("--yes", action="store_true", help="set aside whatever changed settings make anew, unasked")
    parser.add_argument("--verbose", action="store_true", help="show what Ray, vLLM and the workers say")
    parser.add_argument("overrides", nargs="*", metavar="section.key=value", help="settings laid over the file's")
    return parser.parse_intermixed_args()


def _config(arguments: argparse.Namespace) -> RunConfig:
    config = load_config(arguments.config, arguments.overrides)
    if arguments.limit is not None:
        config = config.limited(arguments.limit)
    return config.with_paths(storage.input_path, storage.output_path)


def _changes(opens: Callable[[Job], object] | None, config: RunConfig) -> list[Change]:
    return consent.foresee(lambda read: opens(Job(config, Silent(), read))) if opens else []


def _run(
    run: Callable[[Job], None],
    check: Callable[[RunConfig], None],
    job: Job,
    errors: int,
    verbose: bool,
    local_cpus: int,
) -> None:
    config, progress = job.config, job.progress
    storage.check_writable(config.output)
    check(config)
    with lease.held(config.output):
        job.confirm()
        storage.write_bytes(storage.join(config.output, "config.json"), settings_document(config))
        from factory import local_ray, runtime

        runtime.start(verbose, local_cpus)
        local_ray.watch(partial(_end_without_ray, progress, errors))
        stopping.listen(progress.say)
        _run_over_damage(run, job)
        progress.summary()
    progress.say(f"Output: {config.output}")


def _run_over_damage(run: Callable[[Job], None], job: Job) -> None:
    """Run a job; where a shard of a finished table cannot be read, make that again.

    Raises:
        DamagedError: the shard is of another output, or the same one could not be read twice.
    """
    found: set[str] = set()
    while True:
        try:
            return run(job)
        except DamagedError as problem:
            # Ray raises an error that is of both classes and whose text is a traceback; ours is its cause.
            cause = getattr(problem, "cause", problem)
            inside, path = f"{job.config.output.rstrip('/')}/", cause.path
            if path in found or not path.startswith(inside):
                raise DamagedError(f"{cause}; make its table again, or put back a copy") from problem
            found.add(path)
            name, _, shard = path.removeprefix(inside).rpartition("/")
            Table(job.config.output, name).drop_damaged(shard.removesuffix(SUFFIX))
            job.progress.say(f"{cause}; its table is not finished any more")


def settings_document(config: RunConfig) -> bytes:
    """Return the content of `config.json`: the resolved settings without passwords."""
    return (json.dumps(redacted(config.model_dump(mode="json")), indent=2, ensure_ascii=False) + "\n").encode()


def _end_without_ray(progress: Progress, errors: int) -> NoReturn:
    """End the process at once, since its threads wait for a Ray that is gone; `errors` is the terminal's stderr."""
    problem = (
        Stopped(f"Ray was ended too, and what was in flight is lost; {GOES_ON}")
        if stopping.is_asked()
        else FactoryError(f"Ray on this machine has ended under the run (out of memory?); {GOES_ON}")
    )
    progress.finish()
    os.write(errors, f"{_last_line(problem)}\n".encode())
    os._exit(1)


@contextmanager
def quiet(verbose: bool) -> Iterator[int]:
    """Keep what libraries say off the terminal: it goes to a file, and that of workers to Ray's log folder.

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

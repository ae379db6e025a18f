"""A job: a step that writes tables of a run, with its settings, its lock on the output and its Ray session."""

import json
import os
import shlex
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import NoReturn

from factory.cli import Parser, error_line, quiet, with_absolute_paths
from factory.config import Budget, RunConfig
from factory.errors import DamagedError, FactoryError, Stopped, UserError
from factory.inference.endpoint_questions import EndpointUse, ask_endpoints
from factory.inference.locate import locate_model
from factory.inference.model_files import Located
from factory.inference.spending import limited_by
from factory.inference.token_prices import check_prices
from factory.runtime import confirmation, shutdown
from factory.runtime.progress import Progress, Silent
from factory.runtime.shutdown import RESUME_HINT
from factory.storage import file_io
from factory.storage.archive import Rehearsal
from factory.storage.run_lock import hold_run_lock
from factory.storage.tables import SUFFIX, Table
from factory.text.redaction import redact_secrets


@dataclass(frozen=True)
class Job:
    """A job that runs: its settings and its display."""

    config: RunConfig
    progress: Progress
    confirm: Callable[[], object] = lambda: None
    """Checks again what would be archived, once more is known; call it before the first expensive step."""

    def model(self) -> Located:
        """Locate the model of the engine.

        Raises:
            ModelError: it cannot be had.
        """
        return locate_model(self.config.engine)


@dataclass(frozen=True)
class JobStep:
    """A step of the factory that runs as a job; one per module of `factory/commands/` that writes tables."""

    run: Callable[[Job], None]
    check: Callable[[RunConfig], None]
    """Finds what is wrong before Ray takes its seconds to start, missing models included."""
    dry_run: Callable[[RunConfig, Progress], None]
    """Prints the plan."""
    endpoints: Callable[[RunConfig], Iterable[EndpointUse]] = lambda config: ()
    """What it sends to which engines; a dry run asks those that are endpoints a short question each."""
    local_cpus: Callable[[RunConfig], int] = lambda config: 0
    """The logical CPUs of a Ray session on this machine; 0 for its cores."""
    then: str = ""
    """The command that comes next."""
    opens: Callable[[Job], object] | None = None
    """The part of `run` that opens its tables; where all are finished, it does nothing else."""
    only_tables: bool = False
    """Whether `run` does nothing where its tables are all finished, so that Ray need not start."""

    def rehearse(self, config: RunConfig) -> Rehearsal:
        """Return which finished tables a run would archive, and whether all of its tables are finished."""
        opens = self.opens
        if opens is None:
            return Rehearsal()
        with limited_by(Budget()):  # what is only rehearsed uses nothing
            return confirmation.rehearse(lambda read: opens(Job(config, Silent(), read)))


def run_job(step: JobStep, description: str | None) -> None:
    """Read the command line and run a step.

    Args:
        step: the step.
        description: for `--help`.

    Raises:
        FactoryError: the job fails.
    """
    parser = Parser(description)
    parser.add_argument("--dry-run", action="store_true", help="check everything, print the plan, write nothing")
    parser.add_argument("--offline", action="store_true", help="with --dry-run: ask endpoints no question")
    parser.add_argument(
        "--limit", type=int, metavar="N", help="read the first N rows of each source; training and serving ignore it"
    )
    parser.add_argument("--yes", action="store_true", help="archive tables that changed settings replace, unasked")
    parser.add_argument("--verbose", action="store_true", help="show the output of Ray, vLLM and the workers")
    arguments, config = parser.parse()
    progress = Progress()
    if arguments.limit is not None:
        config = config.limited(arguments.limit)
    config = with_absolute_paths(config)
    with quiet(arguments.verbose) as errors:
        if arguments.dry_run:
            step.dry_run(config, progress)
            if not arguments.offline:
                ask_endpoints(step.endpoints(config), progress)
            with suppress(UserError):  # the plan named what is wrong, or what could not be reached
                for line in confirmation.archive_lines(step.rehearse(config).changes):
                    progress.print(line)
            return
        on_ray_loss = partial(_end_without_ray, progress, errors)
        command = os.path.basename(sys.argv[0]).removesuffix(".py")
        run_step(
            step,
            config,
            progress,
            title=f"{command} {arguments.config}",
            confirmed=arguments.yes,
            verbose=arguments.verbose,
            on_ray_loss=on_ray_loss,
        )
        progress.summary()
    then = shlex.join(["character-factory", step.then, arguments.config, *arguments.overrides]) if step.then else ""
    progress.closing(config.output, then)


def run_step(
    step: JobStep,
    config: RunConfig,
    progress: Progress,
    *,
    title: str = "",
    confirmed: bool = False,
    verbose: bool = False,
    on_ray_loss: Callable[[], None] | None = None,
) -> None:
    """Run a step in this process: its checks, the lock on the output, a Ray session, and its tables.

    Args:
        step: the step.
        config: the settings, with absolute paths.
        progress: where to report.
        title: the heading, printed once everything is checked and Ray is up; empty for none.
        confirmed: whether finished tables of other settings may be archived without a question.
        verbose: whether Ray's output is shown.
        on_ray_loss: what to do when the Ray of this machine ends under the run.

    Raises:
        FactoryError: the step fails.
    """

    def confirm() -> Rehearsal:
        rehearsal, limit = step.rehearse(config), config.confirm_above_rows
        confirmation.confirm_archiving(rehearsal.changes, config.output, limit, confirmed, progress)
        return rehearsal

    job = Job(config, progress, confirm)
    file_io.check_writable(config.output)
    step.check(config)
    check_prices([use.engine for use in step.endpoints(config)], config.budget, progress.print)
    with (
        hold_run_lock(config.output),
        shutdown.time_limit(config.budget.hours, progress.print),
        limited_by(config.budget),
    ):
        rehearsal = confirm()
        file_io.write_bytes(file_io.join(config.output, "config.json"), settings_document(config))
        if step.only_tables and rehearsal.all_finished:  # Ray takes seconds to start
            if title:
                progress.heading(title, config.output)
            for manifest in rehearsal.manifests.values():
                progress.record_table(manifest, skipped=True)
            return
        from factory.runtime import ray_processes, ray_session

        ray_session.start_ray(verbose, step.local_cpus(config))
        if title:
            progress.heading(title, config.output)
        if on_ray_loss:
            ray_processes.watch(on_ray_loss)
        shutdown.handle_sigterm(progress.print)
        _run_over_damage(step.run, job)


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
            job.progress.print(f"{cause}; its table is not finished any more")


def settings_document(config: RunConfig) -> bytes:
    """Return the content of `config.json`: the resolved settings without passwords."""
    return (json.dumps(redact_secrets(config.model_dump(mode="json")), indent=2, ensure_ascii=False) + "\n").encode()


def _end_without_ray(progress: Progress, errors: int) -> NoReturn:
    """End the process at once, since its threads wait for a Ray that is gone; `errors` is the terminal's stderr."""
    problem = (
        Stopped(f"Ray was ended too, and what was in flight is lost; {RESUME_HINT}")
        if shutdown.is_requested()
        else FactoryError(f"Ray on this machine has ended under the run (out of memory?); {RESUME_HINT}")
    )
    progress.stop()
    os.write(errors, f"{error_line(problem)}\n".encode())
    os._exit(1)

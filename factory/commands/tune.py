"""The fastest vLLM settings for a run, by trials on its own prompts; they are written into the config.

character-factory tune my.yaml [--only max_num_seqs] [section.key=value ...]

Tried are tensor parallelism, rows at a time, tokens per step and speculation: none of them changes a row. Each trial
starts an engine and answers some hundred requests, in the folder OUTPUT-tuning; the best one is a pilot for `plan`.
"""

import json
from pathlib import Path

from factory.cli import CONFIGS, Parser, config_path, quiet, with_absolute_paths
from factory.commands.synthesize import synthesize
from factory.config import RunConfig
from factory.errors import ConfigError
from factory.job import Job, JobStep, run_step
from factory.planning.plan_text import duration
from factory.runtime.progress import Progress
from factory.synthesis import dry_run
from factory.tuning.config_file import write_engine_kwargs
from factory.tuning.sweep import NAMES, Settings, Trial, sweep
from factory.tuning.trials import Trials, changed, engine_of, limits_of, values_of


def run() -> None:
    """Read the command line, try settings, and write the best ones into the config.

    Raises:
        FactoryError: the config is wrong, or its own settings fail.
    """
    parser = Parser(__doc__)
    parser.add_argument(
        "--only", action="append", choices=NAMES, metavar="NAME", help=f"a setting to try: {', '.join(NAMES)}"
    )
    parser.add_argument(
        "--rows", type=int, default=0, metavar="N", help="rows per table of a trial (default: by slots)"
    )
    parser.add_argument("--keep-config", action="store_true", help="print the best settings, and write nothing")
    parser.add_argument("--verbose", action="store_true", help="show the output of Ray, vLLM and the workers")
    arguments, config = parser.parse()
    config = with_absolute_paths(config)
    if arguments.rows < 0:
        raise ConfigError(f"--rows is {arguments.rows}; it must be at least 1")
    folder = f"{config.output.rstrip('/')}-tuning"
    trials = Trials(config, folder, arguments.rows, synthesize)
    found: list[Trial] = []

    def tune(job: Job) -> None:
        found.append(_sweep(trials, tuple(arguments.only or NAMES), job.progress))

    progress = Progress()
    step = JobStep(tune, _check, dry_run.plan)
    with quiet(arguments.verbose):
        title = f"tune {arguments.config}"
        run_step(step, config.model_copy(update={"output": folder}), progress, title=title, verbose=arguments.verbose)
    (best,) = found
    path = config_path(arguments.config)
    if not best.changes:
        progress.print("The config has the best of these settings; nothing to change.")
    elif arguments.keep_config or Path(path).parent == CONFIGS:
        progress.print(f"Best: {' '.join(_overrides(best.changes))}")
    else:
        write_engine_kwargs(path, best.changes)
        progress.print(f"Wrote into engine.engine_kwargs of {path}: {best.title}")
    progress.print(f"Next: character-factory plan {arguments.config} --pilot {trials.output(best.changes)}")


def _check(config: RunConfig) -> None:
    engine_of(config)
    dry_run.check(config)


def _sweep(trials: Trials, names: tuple[str, ...], progress: Progress) -> Trial:
    """Run the trials with a line for each, and return the best one."""
    own = None
    best = Trial({})

    def attempt(changes: Settings) -> Trial:
        progress.print(f"trying {Trial(changes).title}")
        return trials.run(changes)

    def values(changes: Settings) -> Settings:
        return values_of(changed(trials.config, changes))

    limits = limits_of(trials.config)
    unit = "GPU" if limits.gpus else "replica"
    for trial, best in sweep(names, values, limits, attempt):
        own = own or trial
        progress.print(f"  {_result(trial, own, unit)}{' (best)' if trial is best and trial is not own else ''}")
    return best


def _result(trial: Trial, own: Trial, unit: str) -> str:
    if trial.problem:
        return f"failed: {trial.problem}"
    speed = f"{trial.tokens_per_second:,.0f} tokens/s per replica; the whole run on one {unit}: {duration(trial.cost)}"
    return speed if trial is own else f"{speed}, {own.cost / trial.cost:.2f} times as fast"


def _overrides(changes: Settings) -> list[str]:
    return [f"'engine.engine_kwargs.{name}={json.dumps(value)}'" for name, value in changes.items()]

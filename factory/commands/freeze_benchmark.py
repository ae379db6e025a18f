"""A benchmark with its example replies, frozen in the store that several runs share.

character-factory freeze-benchmark run.yaml [section.key=value ...]
"""

from factory.commands.evaluate import example_writers
from factory.config import RunConfig
from factory.evaluation.dry_run import check_listed, check_prompts, local_cpus, locate
from factory.evaluation.frozen_store import check_not_frozen, frozen_folder, writing_models
from factory.evaluation.run_benchmark import check_unchanged, examples_prompt, questions_per_task
from factory.job import Job, JobStep, run_job
from factory.personagym import Benchmark, all_questions
from factory.runtime.progress import Progress
from factory.storage import file_io


def freeze_benchmark(job: Job) -> None:
    """Build the tables of a frozen benchmark in its own folder, then write its files."""
    from factory.evaluation.freeze_steps import freeze

    freeze(job.config, job.progress)


def check(config: RunConfig) -> None:
    """Check the benchmark, the judges that write example replies, and that they can be kept."""
    _check_settings(config)
    for use in example_writers(config):
        locate(use.engine)


def _check_settings(config: RunConfig) -> Benchmark:
    check_listed(config, "judges")
    check_prompts(config, () if config.evaluation.parity else ("score-examples",))
    examples_prompt(config)
    benchmark = check_not_frozen(config)
    check_unchanged(config, benchmark)
    return benchmark


def plan(config: RunConfig, progress: Progress) -> None:
    """Print what would be frozen, and where."""
    benchmark = _check_settings(config)
    per_persona = (tasks for _, tasks in all_questions(benchmark, questions_per_task(config)))
    questions = sum(len(listed) for tasks in per_persona for listed in tasks.values())
    folder = frozen_folder(config, benchmark)
    file_io.check_writable(folder)
    progress.print(
        f"Benchmark: {benchmark.folder} ({benchmark.name}, {config.evaluation.protocol}), "
        f"{len(benchmark.personas):,} personas, {questions:,} questions"
    )
    progress.print(f"Example replies: {questions:,} calls, by {', '.join(writing_models(config))}")
    progress.print(f"Folder: {folder} (can be written)")


STEP = JobStep(freeze_benchmark, check, plan, example_writers, local_cpus=local_cpus)


def run() -> None:
    """Run the command."""
    run_job(STEP, __doc__)

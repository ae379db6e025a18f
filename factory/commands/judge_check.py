"""What each judge is worth: pairs of answers of a known order, scored and compared by the judges of a config.

character-factory judge-check demo [section.key=value ...]
"""

from factory.evaluation.dry_run import local_cpus
from factory.evaluation.judge_check import judge_check_steps as steps
from factory.evaluation.judge_check.judge_report import tell
from factory.job import Job, JobStep, run_job
from factory.personagym import open_benchmark


def make_tables(job: Job) -> None:
    """The way of the data, from top to bottom."""
    config, progress = job.config, job.progress
    benchmark = open_benchmark(config.evaluation.benchmark)
    answers, orders = steps.take_pairs(config, progress)
    steps.ask(config, benchmark, answers, orders, progress)


def check_judges(job: Job) -> None:
    """Make the tables, and say what each judge is worth."""
    make_tables(job)
    tell(job.config, job.progress)


STEP = JobStep(check_judges, steps.check, steps.dry_run, local_cpus=local_cpus, opens=make_tables)


def run() -> None:
    """Run the command."""
    run_job(STEP, __doc__)

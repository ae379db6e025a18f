"""A check of the judges: how reliably each one ranks pairs of answers whose order is known.

character-factory judge-check demo [section.key=value ...]
"""

from collections.abc import Iterator

from factory.commands.evaluate import example_writers, judges
from factory.config import RunConfig
from factory.evaluation.dry_run import local_cpus
from factory.evaluation.judge_check import judge_check_steps as steps
from factory.evaluation.judge_check.judge_report import write_report
from factory.evaluation.run_benchmark import named_benchmark
from factory.inference.endpoint_questions import EndpointUse
from factory.job import Job, JobStep, run_job


def make_tables(job: Job) -> None:
    """Build the tables of a judge check: pipeline steps, in order."""
    config, progress = job.config, job.progress
    benchmark = named_benchmark(config)
    steps.judge_pairs(config, benchmark, steps.build_pair_tables(config, progress), progress)


def check_judges(job: Job) -> None:
    """Build the tables and report how reliable each judge is."""
    make_tables(job)
    write_report(job.config, job.progress)


def _endpoints(config: RunConfig) -> Iterator[EndpointUse]:
    yield from judges(config)
    yield from (use for use in example_writers(config) if use.engine.name == steps.example_writer(config))


STEP = JobStep(check_judges, steps.check, steps.plan, _endpoints, local_cpus=local_cpus, opens=make_tables)


def run() -> None:
    """Run the command."""
    run_job(STEP, __doc__)

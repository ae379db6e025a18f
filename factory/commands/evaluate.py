"""Candidates to their PersonaGym scores: answers, a fleet of judges, tables with intervals.

character-factory evaluate demo [section.key=value ...]
"""

from factory.evaluation.dry_run import check, local_cpus, plan
from factory.job import Job, JobStep, run_job


def make_tables(job: Job) -> None:
    """The way of the data, from top to bottom."""
    # Ray Serve and its like take seconds: what is wrong is told before.
    from factory.evaluation import answers, questions, steps
    from factory.personagym import open_benchmark
    from factory.synthesis.steps import make_profiles

    config, progress = job.config, job.progress
    benchmark = open_benchmark(config.evaluation.benchmark)
    cast, asked = questions.ingest_questions(config, benchmark, progress)
    profiles = None
    if answers.wants_profiles(config):
        profiles = make_profiles(config, job.model(), cast, progress, questions.PROFILES)
    steps.answer(config, asked, profiles, progress)
    steps.judge(config, benchmark, progress)


def evaluate(job: Job) -> None:
    """Make the tables, and work out the scores."""
    from factory.evaluation.scores import score
    from factory.personagym import open_benchmark

    make_tables(job)
    score(job.config, open_benchmark(job.config.evaluation.benchmark), job.progress)


STEP = JobStep(evaluate, check, plan, local_cpus=local_cpus, opens=make_tables, then="report")


def run() -> None:
    """Run the command."""
    run_job(STEP, __doc__)

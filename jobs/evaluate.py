"""Candidates to their PersonaGym scores: answers, a fleet of judges, tables with intervals.

python jobs/evaluate.py --config jobs/configs/demo.yaml [section.key=value ...]
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))  # also under `ray job submit --working-dir .`

from factory.evaluation.plan import check, local_cpus, plan
from factory.job import Job, main


def make_tables(job: Job) -> None:
    """The way of the data, from top to bottom."""
    # Ray Serve and its like take seconds: what is wrong is told before.
    from factory.benchmark import open_benchmark
    from factory.evaluation import answers, questions, steps
    from factory.synthesis.steps import make_profiles

    config, progress = job.config, job.progress
    benchmark = open_benchmark(config.evaluation.benchmark)
    cast, asked = questions.take_questions(config, benchmark, progress)
    profiles = None
    if answers.wants_profiles(config):
        profiles = make_profiles(config, job.model(), cast, progress, questions.PROFILES)
    steps.answer(config, asked, profiles, progress)
    steps.judge(config, benchmark, progress)


def evaluate(job: Job) -> None:
    """Make the tables, and work out the scores."""
    from factory.benchmark import open_benchmark
    from factory.evaluation.scores import score

    make_tables(job)
    score(job.config, open_benchmark(job.config.evaluation.benchmark), job.progress)


if __name__ == "__main__":
    main(evaluate, check, plan, __doc__, local_cpus, make_tables)

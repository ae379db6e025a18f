"""What each judge is worth: pairs of answers of a known order, scored and compared by the judges of a config.

python jobs/judge_check.py --config jobs/configs/demo.yaml [section.key=value ...]
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))  # also under `ray job submit --working-dir .`

from factory.benchmark import open_benchmark
from factory.evaluation import judge_check_steps as steps
from factory.evaluation.judge_check_report import tell
from factory.evaluation.plan import local_cpus
from factory.job import Job, main


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


if __name__ == "__main__":
    main(check_judges, steps.check, steps.dry_run, __doc__, local_cpus, make_tables)

"""A persistent fleet of judges, deployed on the running cluster or on a Ray head started on this machine.

character-factory judges-up demo [section.key=value ...]
"""

import os

os.environ.setdefault("RAY_AUTH_MODE", "token")  # required by our heads; Ray reads it on import

from factory.job import Job, JobStep, run_job
from factory.serving.persistent_fleet import check, deploy_persistent, plan


def judges_up(job: Job) -> None:
    """Deploy the judges, print their URL and exit."""
    deploy_persistent(job.config, job.progress)


STEP = JobStep(judges_up, check, plan)


def run() -> None:
    """Run the command."""
    run_job(STEP, __doc__)

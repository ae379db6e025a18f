"""A fleet of judges that stays: it is deployed on the running cluster, or on a Ray head started here for it.

character-factory judges-up demo [section.key=value ...]
"""

import os

os.environ.setdefault("RAY_AUTH_MODE", "token")  # what a head wants; Ray reads it when it is imported

from factory.job import Job, JobStep, run_job
from factory.serving.persistent_fleet import check, deploy_persistent, plan


def judges_up(job: Job) -> None:
    """Deploy, say where, and go."""
    deploy_persistent(job.config, job.progress)


STEP = JobStep(judges_up, check, plan)


def run() -> None:
    """Run the command."""
    run_job(STEP, __doc__)

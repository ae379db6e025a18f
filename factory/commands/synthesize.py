"""Personas and instructions to profiles and character-driven dialogues.

character-factory synthesize demo [section.key=value ...]
"""

from factory.job import Job, JobStep, run_job
from factory.synthesis import steps
from factory.synthesis.dry_run import check, plan


def synthesize(job: Job) -> None:
    """The way of the data, from top to bottom."""
    model = job.model()
    personas = steps.ingest_personas(job.config, job.progress)
    corpora = [steps.ingest_instructions(job.config, corpus, job.progress) for corpus in job.config.instructions]
    job.confirm()  # whether other files hold other rows is known now
    profiles = steps.make_profiles(job.config, model, personas, job.progress)
    work = [steps.assign_instructions(job.config, corpus, profiles, job.progress) for corpus in corpora]
    steps.make_dialogues(job.config, model, work, job.progress)


STEP = JobStep(synthesize, check, plan, opens=synthesize, then="curate")


def run() -> None:
    """Run the command."""
    run_job(STEP, __doc__)

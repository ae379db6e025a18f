"""Judges against people: agreement, bias, and candidates' means corrected by labels.

character-factory calibrate run.yaml [section.key=value ...]
"""

from factory.evaluation.labels.calibration import check, plan, write_calibration
from factory.job import Job, JobStep, run_job


def calibrate(job: Job) -> None:
    """Compare the judges with the labels, and write `calibration.json`."""
    write_calibration(job.config, job.progress)


STEP = JobStep(calibrate, check, plan)


def run() -> None:
    """Run the command."""
    run_job(STEP, __doc__)

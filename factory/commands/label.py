"""A page on which people score answers, blind: labels to correct the judges by.

character-factory label run.yaml [section.key=value ...]
"""

from factory.job import Job, JobStep, run_job
from factory.playground.label_launch import check, plan


def label(job: Job) -> None:
    """Serve the page until Ctrl-C or SIGTERM."""
    from factory.playground.label_launch import serve_labels

    serve_labels(job)


STEP = JobStep(label, check, plan, then="calibrate")


def run() -> None:
    """Run the command."""
    run_job(STEP, __doc__)

"""The playground: a page to create a character and talk to it, the base model and the tuned one side by side.

character-factory chat demo [section.key=value ...]
"""

from factory.job import Job, JobStep, run_job
from factory.playground.dry_run import check, local_cpus, plan


def chat(job: Job) -> None:
    """Serve the page until Ctrl-C or SIGTERM."""
    from factory.playground.launch import serve_until_stopped  # importing Ray Serve takes seconds: check first

    serve_until_stopped(job)


STEP = JobStep(chat, check, plan, local_cpus=local_cpus)


def run() -> None:
    """Run the command."""
    run_job(STEP, __doc__)

"""The playground: a page on which one makes a character and talks to it, the base model and the tuned one side by side.

character-factory chat demo [section.key=value ...]
"""

from factory.job import Job, JobStep, run_job
from factory.playground.dry_run import check, local_cpus, plan


def chat(job: Job) -> None:
    """Serve until it is ended."""
    from factory.playground.launch import serve_until_stopped  # Ray Serve takes seconds: what is wrong is told before

    serve_until_stopped(job)


STEP = JobStep(chat, check, plan, local_cpus=local_cpus)


def run() -> None:
    """Run the command."""
    run_job(STEP, __doc__)

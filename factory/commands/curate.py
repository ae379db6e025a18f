"""Dialogues to the curated training and validation sets.

character-factory curate demo [section.key=value ...]
"""

from factory.curation.dedup_step import match
from factory.curation.dry_run import check, plan
from factory.curation.filter_step import examine
from factory.curation.run import at_work, begin, open_tables
from factory.curation.select_step import select
from factory.curation.write_step import write
from factory.job import Job, run_job


def curate(job: Job) -> None:
    """The way of the data, from top to bottom."""
    run = begin(job.config, job.progress)
    if run is None:  # it was finished before
        return
    with at_work(run, job.progress):
        examined = examine(run, job.progress)
        twins = match(run, examined)
        selected = select(run, examined, twins)
        write(run, examined, twins, selected, job.progress)


def run() -> None:
    """Run the command."""
    run_job(curate, check, plan, __doc__, opens=lambda job: open_tables(job.config, job.progress))

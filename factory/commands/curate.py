"""Dialogues to the curated training and validation sets.

character-factory curate demo [section.key=value ...]
"""

from factory.curation.dedup_step import find_near_duplicates
from factory.curation.dry_run import check, plan
from factory.curation.filter_step import filter_dialogues
from factory.curation.run import at_work, begin, open_tables
from factory.curation.select_step import select_dialogues
from factory.curation.write_step import write_curated
from factory.job import Job, JobStep, run_job


def curate(job: Job) -> None:
    """The way of the data, from top to bottom."""
    run = begin(job.config, job.progress)
    if run is None:  # it was finished before
        return
    with at_work(run, job.progress):
        examined = filter_dialogues(run, job.progress)
        twins = find_near_duplicates(run, examined)
        selected = select_dialogues(run, examined, twins)
        write_curated(run, examined, twins, selected, job.progress)


STEP = JobStep(curate, check, plan, opens=lambda job: open_tables(job.config, job.progress), then="train")


def run() -> None:
    """Run the command."""
    run_job(STEP, __doc__)

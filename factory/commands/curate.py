"""Build the curated training and validation sets from dialogues.

character-factory curate demo [section.key=value ...]
"""

from factory.curation.curation_run import begin, open_tables, showing_progress
from factory.curation.dedup_step import find_near_duplicates
from factory.curation.dry_run import check, plan
from factory.curation.filter_step import filter_dialogues
from factory.curation.select_step import select_dialogues
from factory.curation.write_step import write_curated
from factory.job import Job, JobStep, run_job


def curate(job: Job) -> None:
    """Run the pipeline steps, in order."""
    run = begin(job.config, job.progress)
    if run is None:  # both tables are finished
        return
    with showing_progress(run, job.progress):
        filtered = filter_dialogues(run, job.progress)
        duplicates = find_near_duplicates(run, filtered)
        selection = select_dialogues(run, filtered, duplicates)
        write_curated(run, filtered, duplicates, selection, job.progress)


STEP = JobStep(
    curate,
    check,
    plan,
    opens=lambda job: open_tables(job.config, job.progress),
    only_tables=True,
    then="train",
)


def run() -> None:
    """Run the command."""
    run_job(STEP, __doc__)

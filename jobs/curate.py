"""Dialogues to the curated training and validation sets.

python jobs/curate.py --config jobs/configs/demo.yaml [section.key=value ...]
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))  # also under `ray job submit --working-dir .`

from factory.curation.examining import examine
from factory.curation.matching import match
from factory.curation.plan import check, plan
from factory.curation.run import at_work, begin, open_tables
from factory.curation.selecting import select
from factory.curation.writing import write
from factory.job import Job, main


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


if __name__ == "__main__":
    main(curate, check, plan, __doc__, opens=lambda job: open_tables(job.config, job.progress))

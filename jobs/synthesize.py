"""Personas and instructions to profiles and character-driven dialogues.

python jobs/synthesize.py --config jobs/configs/demo.yaml [section.key=value ...]
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))  # also under `ray job submit --working-dir .`

from factory.job import Job, main
from factory.synthesis import steps
from factory.synthesis.plan import check, plan


def synthesize(job: Job) -> None:
    """The way of the data, from top to bottom."""
    model = job.model()
    personas = steps.take_personas(job.config, job.progress)
    corpora = [steps.take_instructions(job.config, corpus, job.progress) for corpus in job.config.instructions]
    job.confirm()  # whether other files hold other rows is known now
    profiles = steps.make_profiles(job.config, model, personas, job.progress)
    work = [steps.assign(job.config, corpus, profiles, job.progress) for corpus in corpora]
    steps.make_dialogues(job.config, model, work, job.progress)


if __name__ == "__main__":
    main(synthesize, check, plan, __doc__, opens=synthesize)

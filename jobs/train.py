"""Curated dialogues to a role-playing model: Ray Train, DeepSpeed ZeRO, a Hugging Face folder.

python jobs/train.py --config jobs/configs/demo.yaml [section.key=value ...]
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))  # also under `ray job submit --working-dir .`

from factory import models
from factory.job import Job, main
from factory.training.plan import check, plan


def run(job: Job) -> None:
    """Pack, train, export."""
    from factory.training.run import train  # torch takes seconds: what is wrong is told before

    train(job.config, models.locate(job.config.training.base_model), job.progress)


def opens(job: Job) -> None:
    """Open the tables."""
    from factory.training.run import open_table

    open_table(job.config, models.locate(job.config.training.base_model), job.progress)


if __name__ == "__main__":
    main(run, check, plan, __doc__, opens=opens)

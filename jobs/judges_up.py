"""A fleet of judges that stays: it is deployed on the running cluster, or on a Ray head started here for it.

python jobs/judges_up.py --config jobs/configs/demo.yaml [section.key=value ...]
"""

import os
import sys
from pathlib import Path

os.environ.setdefault("RAY_AUTH_MODE", "token")  # what a head wants; Ray reads it when it is imported
sys.path.insert(0, str(Path(__file__).parent.parent))  # also under `ray job submit --working-dir .`

from factory.evaluation.standing import check, leave_up, plan
from factory.job import Job, main


def judges_up(job: Job) -> None:
    """Deploy, say where, and go."""
    leave_up(job.config, job.progress)


if __name__ == "__main__":
    main(judges_up, check, plan, __doc__)

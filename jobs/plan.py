"""What a run will take, before it runs: calls and tokens, time, GPU hours, cost and storage, with intervals.

python jobs/plan.py --config jobs/configs/demo.yaml [--pilot FOLDER] [--json] [section.key=value ...]
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))  # also under `ray job submit --working-dir .`

from factory.job import told
from factory.planning.command import plan

if __name__ == "__main__":
    told(lambda: plan(__doc__))

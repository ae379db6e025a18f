"""Where a row comes from and what became of it, or which training examples are near a task's worst answers.

python jobs/trace.py --config jobs/configs/demo.yaml --id 3f2a91 [--json]
python jobs/trace.py --config jobs/configs/demo.yaml --blame Toxicity [--candidate tuned] [--worst 3] [--json]
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))  # also under `ray job submit --working-dir .`

from factory.job import told
from factory.report.lineage_command import trace

if __name__ == "__main__":
    told(lambda: trace(__doc__))

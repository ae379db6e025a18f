"""What changed settings set aside in an output's `superseded/`, with its size; with --yes it is deleted.

python jobs/prune.py --config jobs/configs/demo.yaml [--yes] [section.key=value ...]
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))  # also under `ray job submit --working-dir .`

from factory.job import told
from factory.prune import prune

if __name__ == "__main__":
    told(lambda: prune(__doc__))

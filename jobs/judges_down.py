"""End the fleet of judges that `judges_up.py` left: its head on this machine, or its deployments on RAY_ADDRESS.

python jobs/judges_down.py
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from factory.evaluation.standing import bring_down
from factory.job import told

if __name__ == "__main__":
    told(lambda: print(bring_down()))

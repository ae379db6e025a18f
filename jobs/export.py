"""Curated dialogues to JSONL or Parquet files that other tools read, with a data set card.

python jobs/export.py --config jobs/configs/demo.yaml --format messages [--file-type parquet] [section.key=value ...]
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))  # also under `ray job submit --working-dir .`

from factory.job import told
from factory.report.export_command import run

if __name__ == "__main__":
    told(lambda: run(__doc__))

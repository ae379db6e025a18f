"""A run to a page that shows it: one HTML file, readable offline.

python jobs/report.py --config jobs/configs/demo.yaml [section.key=value ...]
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))  # also under `ray job submit --working-dir .`

from factory.curation.personal_data import masker
from factory.evaluation.published import published
from factory.job import told
from factory.planning.prices import read_prices
from factory.report.page_command import Known, report

if __name__ == "__main__":
    told(lambda: report(__doc__, Known(read_prices, published, masker)))

"""A run to a page that shows it: one HTML file, readable offline.

character-factory report demo [section.key=value ...]
"""

import shlex

from factory.cli import Parser, quiet, with_absolute_paths
from factory.curation.rules.personal_data import masker
from factory.evaluation.scoring.paper_scores import published
from factory.planning.prices import read_prices
from factory.report.collect import Known, collect
from factory.report.html import render
from factory.runtime.progress import Progress
from factory.storage import file_io

PAGE = "report/index.html"


def run() -> None:
    """Read the command line, write the page, and print where it is.

    Raises:
        UserError: the config is wrong, or there is nothing of a run.
    """
    parser = Parser(__doc__)
    parser.add_argument("--dry-run", action="store_true", help="read everything, write nothing")
    # `make demo` gives all its jobs the same arguments.
    parser.add_argument("--limit", type=int, metavar="N", help="changes nothing: everything in the output is read")
    parser.add_argument("--verbose", action="store_true", help="show the output of libraries")
    arguments, config = parser.parse()
    config = with_absolute_paths(config)

    def command(target: str) -> str:
        overrides = [f'ARGS="{shlex.join(arguments.overrides)}"'] if arguments.overrides else []
        return " ".join([f"make {target} CONFIG={arguments.config}", *overrides])

    progress = Progress()  # it has the terminal while `quiet` keeps the libraries off it
    path = file_io.join(config.output, PAGE)
    with quiet(arguments.verbose):
        page = render(collect(config, command, Known(read_prices, published, masker)))
        if not arguments.dry_run:
            file_io.write_bytes(path, page)
    done = "would be written" if arguments.dry_run else f"{len(page) / 1e6:,.1f} MB"
    progress.say(f"Report: {path} ({done})")

"""Write a run's report: one HTML file that is readable offline.

character-factory report demo [section.key=value ...]
"""

import shlex
from pathlib import Path

from factory.cli import Parser, quiet, with_absolute_paths
from factory.report.collect import collect
from factory.report.html import render
from factory.resources import RESOURCES
from factory.runtime.progress import Progress
from factory.storage import file_io

PAGE = "report/index.html"


def run() -> None:
    """Read the command line, write the page, and print its path.

    Raises:
        UserError: the config is wrong, or there is no table of a run.
    """
    parser = Parser(__doc__)
    parser.add_argument("--dry-run", action="store_true", help="read everything, write nothing")
    # `make demo` passes the same arguments to all its steps.
    parser.add_argument("--limit", type=int, metavar="N", help="no effect: everything in the output is read")
    parser.add_argument("--verbose", action="store_true", help="show the output of libraries")
    arguments, config = parser.parse()
    config = with_absolute_paths(config)

    def command(step: str) -> str:
        return f"character-factory {shlex.join([step, arguments.config, *arguments.overrides])}"

    progress = Progress()  # it keeps the terminal while `quiet` redirects the output of libraries
    path = file_io.join(config.output, PAGE)
    with quiet(arguments.verbose):
        page = _without_local_folders(render(collect(config, command)))
        if not arguments.dry_run:
            file_io.write_bytes(path, page)
    done = "would be written" if arguments.dry_run else f"{len(page) / 1e6:,.1f} MB"
    progress.print(f"Report: {path} ({done})")


def _without_local_folders(page: bytes) -> bytes:
    """Return a page whose paths are relative to the current folder, or to the factory's files: people publish it."""
    for folder in (Path.cwd(), RESOURCES):
        if folder != folder.parent:
            page = page.replace(f"{folder}/".encode(), b"")
    return page

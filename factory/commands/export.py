"""Export curated dialogues to JSONL or Parquet files for other tools, with a data set card.

character-factory export demo --format messages [--file-type parquet] [section.key=value ...]
"""

import argparse
from typing import get_args

from factory.cli import Parser, quiet, with_absolute_paths
from factory.config import RunConfig
from factory.config.loading import path_argument
from factory.errors import ConfigError
from factory.export.export_files import FileType
from factory.export.formats import SHAPES
from factory.export.sources import Selection, find_sources
from factory.export.write_export import check_folder, default_folder, export
from factory.runtime.progress import Progress
from factory.storage.absolute_paths import output_path
from factory.storage.run_lock import hold_run_lock


def run() -> None:
    """Read the command line, export, and publish on `--push-to-hub`.

    Raises:
        UserError: the config, an input, the folder or the Hub prevents it.
    """
    arguments, config = _parse()
    config = with_absolute_paths(config)
    progress = Progress()  # it keeps the terminal while `quiet` redirects the output of libraries
    with quiet(arguments.verbose):
        if arguments.push_to_hub:
            from factory.export.hub import check_access

            check_access(arguments.push_to_hub)
        sources = find_sources(config, arguments.what, arguments.format, arguments.file_type)
        output = arguments.output and output_path(path_argument("--output", arguments.output))
        folder = output or default_folder(sources)
        check_folder(folder)
        with hold_run_lock(folder):
            export(sources, folder, arguments.file_type, progress)
            progress.summary()
            progress.print(f"Export: {folder}")
            if arguments.push_to_hub:
                from factory.export.hub import DATASET, publish

                progress.print(f"Published: {publish(folder, arguments.push_to_hub, DATASET, arguments.private)}")


def _parse() -> tuple[argparse.Namespace, RunConfig]:
    parser = Parser(__doc__)
    parser.add_argument("--format", required=True, choices=list(SHAPES), help="the format of a row")
    parser.add_argument("--file-type", choices=get_args(FileType), default="jsonl", help="default: jsonl")
    parser.add_argument(
        "--what",
        choices=get_args(Selection),
        default="curated",
        help="the curated splits (default), or all accepted dialogues before curation",
    )
    parser.add_argument("--output", metavar="FOLDER", help="default: <output>/export/<format>")
    parser.add_argument("--push-to-hub", metavar="OWNER/NAME", help="publish it, with the token in HF_TOKEN")
    parser.add_argument("--private", action="store_true", help="in a private repository")
    parser.add_argument("--verbose", action="store_true", help="show the output of libraries")
    arguments, config = parser.parse()
    if arguments.private and not arguments.push_to_hub:
        raise ConfigError("--private needs --push-to-hub OWNER/NAME")
    return arguments, config

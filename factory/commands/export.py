"""Export curated dialogues or preference pairs to JSONL or Parquet files, with a data set card, or characters to cards.

character-factory export demo --format messages [--file-type parquet] [section.key=value ...]
"""

import argparse
from typing import get_args

from factory.cli import Parser, quiet, with_absolute_paths
from factory.config import RunConfig
from factory.config.loading import path_argument
from factory.errors import ConfigError
from factory.export.cards import CARDS, CardType, export_cards, find_card_sources
from factory.export.export_files import FileType
from factory.export.formats import SHAPES
from factory.export.preference_format import PREFERENCES, find_preference_sources
from factory.export.sources import Selection, Sources, find_sources
from factory.export.write_export import check_folder, default_folder, export
from factory.runtime.progress import Progress
from factory.storage.absolute_paths import output_path
from factory.storage.run_lock import hold_run_lock

_FILE_TYPE = "jsonl (default) or parquet; for cards json (default) or png"


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
        sources = _find(config, arguments, progress)
        output = arguments.output and output_path(path_argument("--output", arguments.output))
        folder = output or default_folder(sources)
        check_folder(folder)
        with hold_run_lock(folder):
            (export_cards if arguments.format == CARDS else export)(sources, folder, arguments.file_type, progress)
            progress.summary()
            progress.print(f"Export: {folder}")
            if arguments.push_to_hub:
                from factory.export.hub import DATASET, publish

                progress.print(f"Published: {publish(folder, arguments.push_to_hub, DATASET, arguments.private)}")


def _find(config: RunConfig, arguments: argparse.Namespace, progress: Progress) -> Sources:
    """Find the tables to export; those of preference pairs are built first, on Ray."""
    if arguments.format == PREFERENCES:
        from factory.job import run_step
        from factory.preferences.build_preferences import STEP

        run_step(STEP, config, progress, verbose=arguments.verbose)
        return find_preference_sources(config, arguments.file_type)
    if arguments.format == CARDS:
        return find_card_sources(config, arguments.what, arguments.file_type)
    return find_sources(config, arguments.what, arguments.format, arguments.file_type)


def _parse() -> tuple[argparse.Namespace, RunConfig]:
    parser = Parser(__doc__)
    formats = [*SHAPES, CARDS, PREFERENCES]
    parser.add_argument("--format", required=True, choices=formats, help="the format of a row or character")
    parser.add_argument("--file-type", choices=[*get_args(FileType), *get_args(CardType)], help=_FILE_TYPE)
    parser.add_argument(
        "--what",
        choices=get_args(Selection),
        default="curated",
        help="the curated splits and who speaks in them (default), or all accepted before curation",
    )
    parser.add_argument("--output", metavar="FOLDER", help="default: <output>/export/<format>")
    parser.add_argument("--push-to-hub", metavar="OWNER/NAME", help="publish it, with the token in HF_TOKEN")
    parser.add_argument("--private", action="store_true", help="in a private repository")
    parser.add_argument("--verbose", action="store_true", help="show the output of libraries")
    arguments, config = parser.parse()
    fitting = get_args(CardType if arguments.format == CARDS else FileType)
    arguments.file_type = arguments.file_type or fitting[0]
    if arguments.file_type not in fitting:
        raise ConfigError(
            f"--file-type {arguments.file_type}: --format {arguments.format} is written as {' or '.join(fitting)}"
        )
    if arguments.format == CARDS and arguments.push_to_hub:
        raise ConfigError("--push-to-hub publishes data sets; --format cards is none")
    if arguments.format == PREFERENCES and arguments.what != "curated":
        raise ConfigError("--what dialogues: --format preferences is not made of dialogues; see preferences.sources")
    if arguments.private and not arguments.push_to_hub:
        raise ConfigError("--private needs --push-to-hub OWNER/NAME")
    return arguments, config

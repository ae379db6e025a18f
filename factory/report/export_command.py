"""The command line of an export."""

import argparse
from typing import get_args

from factory import lease, storage
from factory.config_file import load_config, place_argument
from factory.errors import ConfigError
from factory.job import Parser, quiet
from factory.progress import Progress
from factory.report.export import check_folder, export, folder_of
from factory.report.export_formats import Format
from factory.report.export_shards import FileType
from factory.report.export_sources import What, find_sources


def run(description: str | None) -> None:
    """Read the command line, export, and publish where that is asked for.

    Raises:
        UserError: the config, an input, the folder or the Hub is not as it must be.
    """
    arguments = _parse(description)
    config = load_config(arguments.config, arguments.overrides)
    config = config.with_paths(storage.input_path, storage.output_path)
    progress = Progress()  # it has the terminal while `quiet` keeps the libraries off it
    with quiet(arguments.verbose):
        if arguments.push_to_hub:
            from factory.report.export_hub import check_access

            check_access(arguments.push_to_hub)
        sources = find_sources(config, arguments.what, arguments.format, arguments.file_type)
        output = arguments.output and storage.output_path(place_argument("--output", arguments.output))
        folder = output or folder_of(sources)
        check_folder(folder)
        with lease.held(folder):
            export(sources, folder, arguments.file_type, progress)
            progress.summary()
            progress.say(f"Export: {folder}")
            if arguments.push_to_hub:
                from factory.report.export_hub import publish

                progress.say(f"Published: {publish(folder, arguments.push_to_hub, arguments.private)}")


def _parse(description: str | None) -> argparse.Namespace:
    parser = Parser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", required=True, metavar="FILE", help="the run's settings (YAML)")
    parser.add_argument("--format", required=True, choices=get_args(Format), help="the shape of a row")
    parser.add_argument("--file-type", choices=get_args(FileType), default="jsonl", help="default: jsonl")
    parser.add_argument(
        "--what",
        choices=get_args(What),
        default="curated",
        help="the curated splits (default), or all accepted dialogues before curation",
    )
    parser.add_argument("--output", metavar="FOLDER", help="default: <output>/export/<format>")
    parser.add_argument("--push-to-hub", metavar="OWNER/NAME", help="publish it; the token is in HF_TOKEN")
    parser.add_argument("--private", action="store_true", help="in a private repository")
    parser.add_argument("--verbose", action="store_true", help="show what libraries say")
    parser.add_argument("overrides", nargs="*", metavar="section.key=value", help="settings laid over the file's")
    arguments = parser.parse_intermixed_args()
    if arguments.private and not arguments.push_to_hub:
        raise ConfigError("--private: says how to publish; give --push-to-hub OWNER/NAME with it")
    return arguments

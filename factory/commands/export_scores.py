"""Export the scores of a run for other tools: one file per candidate.

character-factory export-scores demo --format model-index|inspect|lm-eval [--output FOLDER] [section.key=value ...]
"""

from typing import get_args

from factory.cli import Parser, with_absolute_paths
from factory.config.loading import path_argument
from factory.export.scores.score_files import Format, export_scores
from factory.storage.absolute_paths import output_path
from factory.storage.file_io import join


def run() -> None:
    """Read the command line, write the files, and print their paths.

    Raises:
        UserError: the config is wrong, the run has no scores, or the folder cannot be written.
    """
    parser = Parser(__doc__)
    parser.add_argument("--format", required=True, choices=get_args(Format), help="the tool that reads the files")
    parser.add_argument("--output", metavar="FOLDER", help="default: <output>/export/scores-<format>")
    arguments, config = parser.parse()
    config = with_absolute_paths(config)
    folder = arguments.output and output_path(path_argument("--output", arguments.output))
    folder = folder or join(config.output, "export", f"scores-{arguments.format}")
    for path in export_scores(config.output, arguments.format, folder):
        print(f"Scores: {path}")

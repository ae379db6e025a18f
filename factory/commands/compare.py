"""Compare two candidates answer by answer: wins and losses by task and persona, and what changed most.

character-factory compare demo --candidates tuned base [--shown 5] [--json]
character-factory compare demo --candidates tuned --with FOLDER   # the same candidate of another run
"""

import json
from dataclasses import asdict

from factory.cli import Parser, with_absolute_paths
from factory.config import RunConfig
from factory.config.loading import path_argument
from factory.errors import ConfigError
from factory.lineage.comparison import Side, compare
from factory.lineage.comparison_text import show_comparison
from factory.lineage.lineage_text import terminal
from factory.storage.absolute_paths import output_path


def run() -> None:
    """Read the command line, compare, and print the result.

    Raises:
        UserError: the config or an option is wrong, or there is nothing to compare.
    """
    parser = Parser(__doc__)
    parser.add_argument(
        "--candidates", nargs="+", metavar="NAME", default=[], help="default: the last and the first of the config"
    )
    parser.add_argument("--with", dest="other", metavar="FOLDER", help="the output of the run of the second candidate")
    parser.add_argument("--shown", type=int, default=5, metavar="N", help="personas and answers of each kind (5)")
    parser.add_argument("--json", action="store_true", help="print everything as JSON")
    arguments, config = parser.parse()
    config = with_absolute_paths(config)
    other = output_path(path_argument("--with", arguments.other)) if arguments.other else config.output
    first, second = _names(config, arguments.candidates, other != config.output)
    comparison = compare(Side(config.output, first), Side(other, second), max(1, arguments.shown))
    if arguments.json:
        print(json.dumps(asdict(comparison), indent=2))
    else:
        show_comparison(comparison, terminal())


def _names(config: RunConfig, given: list[str], is_other_run: bool) -> tuple[str, str]:
    """Return the two names: one given name is that of both runs."""
    known = [candidate.name for candidate in config.evaluation.candidates]
    names = given or ([known[-1]] if is_other_run and known else known[-1:] + known[:1])
    if len(names) == 1 and is_other_run:
        names = names * 2
    if len(names) != 2 or (names[0] == names[1] and not is_other_run):
        raise ConfigError(
            f"--candidates {' '.join(given) or 'omitted'}: give two names of {', '.join(known) or 'no candidates'}, or "
            "one name and --with FOLDER of another run"
        )
    if names[0] not in known:
        raise ConfigError(f"--candidates {names[0]}: evaluation.candidates has {', '.join(known) or 'none'}")
    return names[0], names[1]

"""Show the lineage of a row, or the training examples nearest to a task's worst answers.

character-factory trace demo --id 3f2a91 [--json]
character-factory trace demo --explain Toxicity [--candidate tuned] [--worst 3] [--json]
"""

import json
from dataclasses import asdict

from factory.cli import Parser, with_absolute_paths
from factory.lineage.follow import follow
from factory.lineage.lineage_text import show, terminal
from factory.lineage.search import resolve_id
from factory.run_output.scan import RunTables


def run() -> None:
    """Read the command line, search the run's tables, and print the result.

    Raises:
        UserError: the config is wrong, there is no such run, id or task, or a table cannot be read.
    """
    parser = Parser(__doc__)
    query = parser.add_mutually_exclusive_group(required=True)
    query.add_argument("--id", help="an id of the run, or at least its first 6 digits")
    query.add_argument("--explain", metavar="TASK", help="a task of the evaluation, such as Toxicity or TC")
    parser.add_argument("--candidate", metavar="NAME", help="default: the model that the run trained")
    parser.add_argument(
        "--worst",
        dest="settings",
        action="append",
        type="attribution.worst={}".format,
        metavar="N",
        help="how many of the lowest answers",
    )
    parser.add_argument("--json", action="store_true", help="print everything as JSON")
    arguments, config = parser.parse()
    config = with_absolute_paths(config)
    tables, console = RunTables.open(config), terminal()
    if arguments.id is not None:
        lineage = follow(config, tables, resolve_id(tables, arguments.id))
        if arguments.json:
            print(json.dumps(asdict(lineage), indent=2))
        else:
            show(lineage, console)
        return
    # Not above: scikit-learn takes a second to import.
    from factory.lineage.attribution import attribute
    from factory.lineage.attribution_text import progress_bar, show_attribution

    with progress_bar(arguments.json) as report:
        attribution = attribute(config, tables, arguments.explain, arguments.candidate, report)
    if arguments.json:
        print(json.dumps(asdict(attribution), indent=2))
    else:
        show_attribution(attribution, console)

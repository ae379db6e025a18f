"""Where a row comes from and what became of it, or which training examples are near a task's worst answers.

character-factory trace demo --id 3f2a91 [--json]
character-factory trace demo --explain Toxicity [--candidate tuned] [--worst 3] [--json]
"""

import json
from dataclasses import asdict

from factory.cli import Parser, with_absolute_paths
from factory.lineage.follow import follow
from factory.lineage.lineage_text import show, terminal
from factory.lineage.search import subject_of
from factory.run_output.scan import Tables


def run() -> None:
    """Read the command line, follow what it names through the run's tables, and print it.

    Raises:
        UserError: the config is wrong, there is no such run, id or task, or a table cannot be read.
    """
    parser = Parser(__doc__)
    asked = parser.add_mutually_exclusive_group(required=True)
    asked.add_argument("--id", help="an id of the run, or its first 6 digits and more")
    asked.add_argument("--explain", metavar="TASK", help="a task of the evaluation, such as Toxicity or TC")
    parser.add_argument("--candidate", metavar="NAME", help="whose answers; by default the model that the run trained")
    parser.add_argument(
        "--worst",
        dest="settings",
        action="append",
        type="attribution.worst={}".format,
        metavar="N",
        help="how many answers",
    )
    parser.add_argument("--json", action="store_true", help="print everything as JSON")
    arguments, config = parser.parse()
    config = with_absolute_paths(config)
    tables, console = Tables.of(config), terminal()
    if arguments.id is not None:
        lineage = follow(config, tables, subject_of(tables, arguments.id))
        if arguments.json:
            print(json.dumps(asdict(lineage), indent=2))
        else:
            show(lineage, console)
        return
    # Not above: scikit-learn takes a second to import.
    from factory.lineage.attribution import blame
    from factory.lineage.attribution_text import show_blame, watching

    with watching(arguments.json) as tell:
        blamed = blame(config, tables, arguments.explain, arguments.candidate, tell)
    if arguments.json:
        print(json.dumps(asdict(blamed), indent=2))
    else:
        show_blame(blamed, console)

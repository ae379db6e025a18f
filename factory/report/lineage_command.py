"""The command line of `jobs/trace.py`: one id, or the answers that a task's scores are low for."""

import argparse
import json
from dataclasses import asdict

from factory import storage
from factory.config_file import load_config
from factory.job import Parser
from factory.report.lineage import follow
from factory.report.lineage_rendering import show, terminal
from factory.report.lineage_search import subject_of
from factory.report.lineage_tables import Tables


def trace(description: str | None) -> None:
    """Read the command line, follow what it names through the run's tables, and print it.

    Raises:
        UserError: the config is wrong, there is no such run, id or task, or a table cannot be read.
    """
    arguments = _parse(description)
    config = load_config(arguments.config, arguments.overrides)
    config = config.with_paths(storage.input_path, storage.output_path)
    tables, console = Tables.of(config), terminal()
    if arguments.id is not None:
        lineage = follow(config, tables, subject_of(tables, arguments.id))
        if arguments.json:
            print(json.dumps(asdict(lineage), indent=2))
        else:
            show(lineage, console)
        return
    # Not above: scikit-learn takes a second to import.
    from factory.report.blame import blame
    from factory.report.blame_rendering import show_blame, watching

    with watching(arguments.json) as tell:
        blamed = blame(config, tables, arguments.blame, arguments.candidate, tell)
    if arguments.json:
        print(json.dumps(asdict(blamed), indent=2))
    else:
        show_blame(blamed, console)


def _parse(description: str | None) -> argparse.Namespace:
    parser = Parser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", required=True, metavar="FILE", help="the run's settings (YAML)")
    asked = parser.add_mutually_exclusive_group(required=True)
    asked.add_argument("--id", help="an id of the run, or its first 6 digits and more")
    asked.add_argument("--blame", metavar="TASK", help="a task of the evaluation, such as Toxicity or TC")
    parser.add_argument("--candidate", metavar="NAME", help="whose answers; left out: the model that the run trained")
    parser.add_argument("--worst", type=int, metavar="N", help="how many answers (trace.worst)")
    parser.add_argument("--json", action="store_true", help="print all of it as JSON")
    parser.add_argument("overrides", nargs="*", metavar="section.key=value", help="settings laid over the file's")
    arguments = parser.parse_intermixed_args()
    if arguments.worst is not None:
        arguments.overrides.append(f"trace.worst={arguments.worst}")
    return arguments

"""Submit, follow and stop jobs of a running cluster.

python cluster/job.py submit synthesize --config FILE [section.key=value ...]
python cluster/job.py logs JOB_ID
python cluster/job.py stop JOB_ID      finishes the work in flight; the second time, kills the job
"""

import argparse
import os
import sys
from functools import partial
from pathlib import Path

os.environ.setdefault("RAY_AUTH_MODE", "token")  # required by our heads; Ray reads it on import

from factory.cli import exit_with_error_line
from factory.cluster import jobs

say = partial(print, flush=True)


def main() -> None:
    """Run a subcommand, and exit with the job's exit status."""
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--address", help="URL of the cluster's dashboard (default: the cluster of `make cluster-up`)")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    submit = commands.add_parser("submit", parents=[shared], help="submit a job and follow it")
    submit.add_argument("job", help=f"one of {', '.join(jobs.JOBS)}")
    submit.add_argument("--config", type=Path, required=True, metavar="FILE", help="the run's settings (YAML)")
    for name, text in (("logs", "follow a job"), ("stop", "stop a job")):
        commands.add_parser(name, parents=[shared], help=text).add_argument("job_id")
    arguments, overrides = parser.parse_known_args()
    if overrides and arguments.command != "submit":
        parser.error(f"unrecognized arguments: {' '.join(overrides)}")
    exit_with_error_line(lambda: sys.exit(_run(arguments, overrides)))


def _run(arguments: argparse.Namespace, overrides: list[str]) -> int:
    if arguments.command == "submit":
        return jobs.submit(arguments.job, arguments.config, overrides, arguments.address, say)
    if arguments.command == "logs":
        return jobs.logs(arguments.job_id, arguments.address, say)
    say(jobs.stop(arguments.job_id, arguments.address))
    return 0


if __name__ == "__main__":
    main()

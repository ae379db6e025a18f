"""Jobs of a running cluster: send one and follow it, follow one, stop one.

python cluster/job.py submit synthesize --config FILE [section.key=value ...]
python cluster/job.py logs JOB_ID
python cluster/job.py stop JOB_ID      finishes what is in flight; a second time ends it at once
"""

import argparse
import os
import sys
from functools import partial
from pathlib import Path

os.environ.setdefault("RAY_AUTH_MODE", "token")  # what a head wants; Ray reads it when it is imported

from factory.cli import exit_with_error_line
from factory.cluster import jobs

say = partial(print, flush=True)


def main() -> None:
    """Do one of the three, and end with the job's exit status."""
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--address", help="the dashboard's URL of the cluster (default: the one of make cluster-up)")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    doing = parser.add_subparsers(dest="what", required=True)
    submit = doing.add_parser("submit", parents=[shared], help="send a job and follow it")
    submit.add_argument("job", help=f"one of {', '.join(jobs.JOBS)}")
    submit.add_argument("--config", type=Path, required=True, metavar="FILE", help="the run's settings (YAML)")
    for name in ("logs", "stop"):
        doing.add_parser(name, parents=[shared]).add_argument("job_id")
    asked, overrides = parser.parse_known_args()
    if overrides and asked.what != "submit":
        parser.error(f"unrecognised: {' '.join(overrides)}")
    exit_with_error_line(lambda: sys.exit(_do(asked, overrides)))


def _do(asked: argparse.Namespace, overrides: list[str]) -> int:
    if asked.what == "submit":
        return jobs.submit(asked.job, asked.config, overrides, asked.address, say)
    if asked.what == "logs":
        return jobs.logs(asked.job_id, asked.address, say)
    say(jobs.stop(asked.job_id, asked.address))
    return 0


if __name__ == "__main__":
    main()

"""A cluster on this machine, with a real autoscaler: start it, look at it, end it.

python cluster/local.py up | status | down
"""

import argparse
import os
from pathlib import Path

os.environ.setdefault("RAY_AUTH_MODE", "token")  # what a head wants; Ray reads it when it is imported

from factory.cli import exit_with_error_line
from factory.cluster import local_cluster, status


def main() -> None:
    """Do one of the three."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["up", "status", "down"])
    parser.add_argument(
        "--file", type=Path, default=local_cluster.FILE, help="the cluster's settings (default: %(default)s)"
    )
    parser.add_argument("--port", type=int, default=8265, help="of the dashboard, which takes jobs (default: 8265)")
    parser.add_argument("--address", help="look at another cluster: its dashboard's URL")
    asked = parser.parse_args()
    exit_with_error_line(lambda: {"up": _up, "status": _status, "down": _down}[asked.what](asked))


def _up(asked: argparse.Namespace) -> None:
    head = local_cluster.up(asked.file, asked.port)
    print(f"The cluster is up at {head.dashboard}, with no workers yet: they come with demand.")
    print("  make submit JOB=synthesize CONFIG=jobs/configs/demo.yaml   sends it a job")
    print("  make cluster-status                                        shows workers and jobs")
    print("  make cluster-down                                          ends it")


def _status(asked: argparse.Namespace) -> None:
    address = asked.address or local_cluster.standing().dashboard
    print(address)
    print("\n".join(status.look(address)))


def _down(_asked: argparse.Namespace) -> None:
    print("\n".join(status.look(local_cluster.standing().dashboard)))
    print(f"The cluster at {local_cluster.down().dashboard} is ended, with all its workers.")


if __name__ == "__main__":
    main()

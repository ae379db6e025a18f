"""Start, inspect and stop a cluster on this machine, which has a real autoscaler.

python cluster/local.py up | status | down
"""

import argparse
import os
from pathlib import Path

os.environ.setdefault("RAY_AUTH_MODE", "token")  # required by our heads; Ray reads it on import

from factory.cli import exit_with_error_line
from factory.cluster import local_cluster, status


def main() -> None:
    """Run a command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=["up", "status", "down"])
    parser.add_argument(
        "--file", type=Path, default=local_cluster.FILE, help="the cluster's settings (default: %(default)s)"
    )
    parser.add_argument("--port", type=int, default=8265, help="port of the dashboard and job server (default: 8265)")
    parser.add_argument("--address", help="URL of another cluster's dashboard, for status")
    arguments = parser.parse_args()
    exit_with_error_line(lambda: {"up": _up, "status": _status, "down": _down}[arguments.command](arguments))


def _up(arguments: argparse.Namespace) -> None:
    head = local_cluster.up(arguments.file, arguments.port)
    print(f"The cluster is running at {head.dashboard}. It starts workers on demand.")
    print("  make submit JOB=synthesize CONFIG=jobs/configs/demo.yaml   submits a job")
    print("  make cluster-status                                        shows workers and jobs")
    print("  make cluster-down                                          stops the cluster")


def _status(arguments: argparse.Namespace) -> None:
    address = arguments.address or local_cluster.running_head().dashboard
    print(address)
    print("\n".join(status.show_status(address)))


def _down(_arguments: argparse.Namespace) -> None:
    print("\n".join(status.show_status(local_cluster.running_head().dashboard)))
    print(f"The cluster at {local_cluster.down().dashboard} and all its workers are stopped.")


if __name__ == "__main__":
    main()

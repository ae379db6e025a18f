"""A Ray head on this machine that outlives the process that started it.

A record of its process is kept in the cache folder, so that only this head is ended later: `ray stop` would
end every Ray on the machine.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from factory.errors import FactoryError
from factory.runtime import loopback
from factory.runtime.ray_processes import WORKER_PRIORITY
from factory.storage import file_io
from factory.storage.cache import cache_folder

START_TIMEOUT_S = 120
END_TIMEOUT_S = 30


@dataclass(frozen=True)
class Head:
    """The process and the addresses of a head."""

    pid: int
    started: float
    """Seconds since 1970, since process ids are reused."""
    address: str
    """host:port of its control store (GCS)."""
    folder: str
    """Its temporary folder, which no other Ray uses."""
    dashboard: str = ""
    """The URL that accepts jobs, if any."""

    def process(self) -> psutil.Process | None:
        """Return its process, if it still runs."""
        try:
            process = psutil.Process(self.pid)
            return process if process.create_time() == self.started else None
        except psutil.NoSuchProcess:
            return None


def ray_command() -> str:
    """Return the path of the `ray` command of this Python."""
    return str(Path(sys.executable).with_name("ray"))


def start(
    options: Sequence[str], environment: Mapping[str, str], folder: str | None = None, dashboard: str = ""
) -> Head:
    """Start a head on loopback; it requires Ray's token unless RAY_AUTH_MODE is set otherwise.

    Args:
        options: further options of `ray start`; with `--node-ip-address` it is not limited to loopback.
        environment: overrides variables of this process.
        folder: for Ray's files; by default a new one.
        dashboard: the URL that it will have, if any.

    Raises:
        FactoryError: it does not start.
    """
    folder = folder or new_folder()
    # By default a head that is ended waits up to 30 s for its workers to become idle, which nothing needs here.
    ours = {"RAY_AUTH_MODE": "token", "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "0", **WORKER_PRIORITY}
    variables = {**ours, **os.environ, **environment}
    variables.pop("RAY_ADDRESS", None)
    if not any(option.startswith("--node-ip-address") for option in options):
        variables |= loopback.ENVIRONMENT
    if variables["RAY_AUTH_MODE"] == "token":  # generates one if there is none
        subprocess.run([ray_command(), "get-auth-token", "--generate"], env=variables, capture_output=True, check=False)
    command = [
        ray_command(), "start", "--head", "--block", "--node-ip-address=127.0.0.1", "--disable-usage-stats",
        "--dashboard-agent-listen-port=0",  # the default is fixed, and another Ray on this machine may use it
        f"--temp-dir={folder}", *options,
    ]  # fmt: skip
    with (Path(folder) / "head.log").open("w") as log:
        process = subprocess.Popen(
            command, start_new_session=True, env=variables, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    address_file = Path(folder) / "ray_current_cluster"
    deadline = time.monotonic() + START_TIMEOUT_S
    while not address_file.exists():
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            raise FactoryError(f"cannot start a Ray head on this machine; see {folder}/head.log")
        time.sleep(0.2)
    started = psutil.Process(process.pid).create_time()
    return Head(process.pid, started, address_file.read_text().strip(), folder, dashboard)


def new_folder() -> str:
    """Create a folder for a head's files, with a short path, as Ray puts sockets there."""
    return tempfile.mkdtemp(prefix="factory-", dir="/tmp")


def free_port(host: str = "127.0.0.1") -> int:
    """Return a port of an interface that is free now."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as free:
        free.bind((host, 0))
        return int(free.getsockname()[1])


def end(head: Head) -> None:
    """End a head and all processes that it started, worker nodes included."""
    process = head.process()
    processes = _processes_of(process, head.folder)
    if process:
        process.send_signal(signal.SIGTERM)
    _, left = psutil.wait_procs(processes, timeout=END_TIMEOUT_S)
    for survivor in {*left, *_processes_of(None, head.folder)}:
        with suppress(psutil.NoSuchProcess):
            survivor.kill()


def _processes_of(process: psutil.Process | None, folder: str) -> list[psutil.Process]:
    """Return the descendants of a head, and nodes whose parent has ended: their command line names its folder."""
    children = [process, *process.children(recursive=True)] if process else []
    named = [
        other
        for other in psutil.process_iter(["cmdline"])
        if other not in children and any(folder in word for word in other.info["cmdline"] or ())
    ]
    return [found for found in [*children, *named] if found.pid != os.getpid()]


def save_record(name: str, head: Head) -> None:
    """Write the record of a head to the cache folder."""
    file_io.write_bytes(str(_record(name)), json.dumps(asdict(head)).encode())


def find_running(name: str) -> Head | None:
    """Return the recorded head if it still runs; a record that cannot be read counts as missing."""
    try:
        head = Head(**(file_io.read_document(str(_record(name))) or {}))
        return head if head.process() else None
    except (TypeError, ValueError, OverflowError):
        return None


def delete_record(name: str) -> None:
    """Delete the record of a head."""
    _record(name).unlink(missing_ok=True)


def _record(name: str) -> Path:
    return cache_folder() / f"{name}-head.json"

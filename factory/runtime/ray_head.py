"""A Ray head of our own on this machine that outlives the process which started it.

A note of its process is kept in the cache folder, so that it and nothing else is ended again:
`ray stop` would end every Ray on the machine.
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
from factory.storage import file_io
from factory.storage.cache import cache_folder

START_TIMEOUT_S = 120
END_TIMEOUT_S = 30


@dataclass(frozen=True)
class Head:
    """Where a head is, and which process."""

    pid: int
    started: float
    """Seconds since 1970: another process may get the same pid later."""
    address: str
    """host:port of its control store."""
    folder: str
    """Its temporary folder, which no other Ray has."""
    dashboard: str = ""
    """The URL that takes jobs, where it has one."""

    def process(self) -> psutil.Process | None:
        """Its process, if that still runs."""
        try:
            process = psutil.Process(self.pid)
            return process if process.create_time() == self.started else None
        except psutil.NoSuchProcess:
            return None


def ray_command() -> str:
    """The `ray` of this Python."""
    return str(Path(sys.executable).with_name("ray"))


def start(
    options: Sequence[str], environment: Mapping[str, str], folder: str | None = None, dashboard: str = ""
) -> Head:
    """Start a head on loopback; it wants Ray's token unless RAY_AUTH_MODE says otherwise.

    Args:
        options: of `ray start`, beside those that every head has; a `--node-ip-address` takes it off loopback.
        environment: laid over this process's own.
        folder: for Ray's files; by default a new one.
        dashboard: the URL that it will have, if any.

    Raises:
        FactoryError: it does not come up.
    """
    folder = folder or new_folder()
    # Of a head that is ended nothing is wanted any more: by itself it waits 30 s for its workers to have nothing to do.
    told = {"RAY_AUTH_MODE": "token", "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "0", **os.environ, **environment}
    told.pop("RAY_ADDRESS", None)
    if not any(option.startswith("--node-ip-address") for option in options):
        told |= loopback.ENVIRONMENT
    if told["RAY_AUTH_MODE"] == "token":  # makes one where there is none
        subprocess.run([ray_command(), "get-auth-token", "--generate"], env=told, capture_output=True, check=False)
    command = [
        ray_command(), "start", "--head", "--block", "--node-ip-address=127.0.0.1", "--disable-usage-stats",
        "--dashboard-agent-listen-port=0",  # by default a fixed one, which another Ray here may have
        f"--temp-dir={folder}", *options,
    ]  # fmt: skip
    with (Path(folder) / "head.log").open("w") as log:
        process = subprocess.Popen(
            command, start_new_session=True, env=told, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    found = Path(folder) / "ray_current_cluster"
    deadline = time.monotonic() + START_TIMEOUT_S
    while not found.exists():
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            raise FactoryError(f"a Ray head does not start on this machine; see {folder}/head.log")
        time.sleep(0.2)
    started = psutil.Process(process.pid).create_time()
    return Head(process.pid, started, found.read_text().strip(), folder, dashboard)


def new_folder() -> str:
    """A folder for a head's files: Ray's sockets want a short path."""
    return tempfile.mkdtemp(prefix="factory-", dir="/tmp")


def free_port(host: str = "127.0.0.1") -> int:
    """A port of an interface that nothing listens on now."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as free:
        free.bind((host, 0))
        return int(free.getsockname()[1])


def end(head: Head) -> None:
    """End a head with all that it started, worker nodes included."""
    process = head.process()
    family = _family(process, head.folder)
    if process:
        process.send_signal(signal.SIGTERM)
    _, left = psutil.wait_procs(family, timeout=END_TIMEOUT_S)
    for one in {*left, *_family(None, head.folder)}:
        with suppress(psutil.NoSuchProcess):
            one.kill()


def _family(process: psutil.Process | None, folder: str) -> list[psutil.Process]:
    """What descends from a head, and what names its folder: nodes whose parent has ended."""
    children = [process, *process.children(recursive=True)] if process else []
    named = [
        one
        for one in psutil.process_iter(["cmdline"])
        if one not in children and any(folder in word for word in one.info["cmdline"] or ())
    ]
    return [one for one in [*children, *named] if one.pid != os.getpid()]


def note(name: str, head: Head) -> None:
    """Keep the note of a head."""
    file_io.write_bytes(str(_note(name)), json.dumps(asdict(head)).encode())


def noted(name: str) -> Head | None:
    """The head of a note, if it still runs; a note that cannot be read is none."""
    try:
        head = Head(**(file_io.read_document(str(_note(name))) or {}))
        return head if head.process() else None
    except (TypeError, ValueError, OverflowError):
        return None


def forget(name: str) -> None:
    """Drop a note."""
    _note(name).unlink(missing_ok=True)


def _note(name: str) -> Path:
    return cache_folder() / f"{name}-head.json"

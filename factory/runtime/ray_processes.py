"""The processes of a Ray that this process starts: shielded from signals to its process group, and watched."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psutil
import ray
from ray._private import ray_constants, services

POLL_S = 1.0
GRACE_S = 2.0
"""How long a raylet may be gone before it counts as lost: `ray.shutdown` ends it too."""
NEEDED = (ray_constants.PROCESS_TYPE_RAYLET, ray_constants.PROCESS_TYPE_GCS_SERVER)
"""The processes without which a driver waits forever. Ray survives without the others."""

WORKER_PRIORITY = {"RAY_worker_niceness": "0"}
"""For a Ray that starts: by default its workers, and so the engines in them, yield to every other process, Ray's own
included. On two cores an engine with eager steps generated 125 tokens per second so, and 147 with this."""


@contextmanager
def own_session() -> Iterator[None]:
    """Start Ray's processes in sessions of their own.

    Otherwise a signal to the process group of the job (Ctrl-C, `timeout`, a batch system) would end Ray before its
    driver; Ray only blocks SIGINT in them. They still end with the driver, by the kernel.
    """
    original = services.ConsolePopen

    class InOwnSession(original):  # type: ignore[misc, valid-type]
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs, start_new_session=True)

    services.ConsolePopen = InOwnSession  # type: ignore[misc]
    try:
        yield
    finally:
        services.ConsolePopen = original  # type: ignore[misc]


def watch(ended: Callable[[], None]) -> None:
    """Call a function once the Ray that this process started has died; does nothing on a cluster.

    Ray Data and Train would wait forever: a driver hears of a lost node from the control store, which is lost too.
    """
    node: Any = ray._private.worker._global_node
    if any(name in node.all_processes for name in NEEDED):
        threading.Thread(target=_watch, args=(node, ended), name="ray-watch", daemon=True).start()


def _watch(node: Any, ended: Callable[[], None]) -> None:
    while ray._private.worker._global_node is node:
        if _is_lost(node):
            time.sleep(GRACE_S)
            if ray._private.worker._global_node is node and _is_lost(node):
                _end_workers(node)
                ended()
        time.sleep(POLL_S)


def _is_lost(node: Any) -> bool:
    return any(name in NEEDED for name, _ in node.dead_processes())


def _end_workers(node: Any) -> None:
    """Kill the workers of the lost processes, which would wait for a raylet that is gone."""
    sessions = {started.process.pid for processes in node.all_processes.values() for started in processes}
    for process in psutil.process_iter():
        with suppress(psutil.NoSuchProcess, ProcessLookupError, PermissionError):
            if os.getsid(process.pid) in sessions:
                process.send_signal(signal.SIGKILL)

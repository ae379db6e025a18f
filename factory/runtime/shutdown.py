"""Graceful shutdown: the first SIGTERM finishes the work in flight, a second one ends the run at once.

`ray job stop` sends it, and so does a batch system or a machine that is being preempted; the end of `budget.hours`
requests the same. The run then creates a stop flag in its output, which every task checks before it reads a shard of
work: no more is read, what was read is written, and the same command resumes with the rest.
"""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import FrameType

from factory.errors import Stopped, StorageError
from factory.storage import file_io

FLAG = "_stopping"
POLL_S = 0.2
RESUME_HINT = "finished rows are kept; the same command resumes the run"

_requested = threading.Event()
_reasons: list[str] = []


@dataclass(frozen=True)
class StopFlag:
    """A file in the run's output that tells all machines to start no more work."""

    path: str

    def is_set(self) -> bool:
        """Return whether a shutdown was requested."""
        return file_io.exists(self.path)

    def set(self) -> None:
        """Let no task start more work."""
        file_io.write_bytes(self.path, b"")


@contextmanager
def stop_flag(output: str) -> Iterator[StopFlag]:
    """Provide a flag that is set when this process is requested to stop.

    Raises:
        Stopped: a shutdown was requested before.
    """
    raise_if_requested()
    flag = StopFlag(file_io.join(output, FLAG))
    file_io.delete_file(flag.path)  # of a run that was killed during its shutdown
    ended = threading.Event()
    threading.Thread(target=_set_on_request, args=(flag, ended), name="stop-flag", daemon=True).start()
    try:
        yield flag
    finally:
        ended.set()
        with suppress(StorageError):
            file_io.delete_file(flag.path)


def _set_on_request(flag: StopFlag, ended: threading.Event) -> None:
    while not ended.wait(POLL_S):
        if _requested.is_set():
            with suppress(StorageError):  # retried
                flag.set()
                return


@contextmanager
def time_limit(hours: float | None, report: Callable[[str], None]) -> Iterator[None]:
    """Request a shutdown after so many hours; None for no limit."""
    if hours is None:
        yield
        return

    def request_shutdown() -> None:
        _reasons.append(f"budget.hours is reached ({hours:g})")
        _requested.set()
        report(f"Stopping, as {_reasons[-1]}: work in flight is finished and written")

    timer = threading.Timer(hours * 3600, request_shutdown)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        if _reasons:  # this process may run another step
            _reasons.clear()
            _requested.clear()


def stopped(text: str) -> Stopped:
    """Return the error of a run that stopped, with the reason where there is one."""
    return Stopped("; ".join([*_reasons, text]))


def is_requested() -> bool:
    """Return whether this process was requested to stop."""
    return _requested.is_set()


def raise_if_requested() -> None:
    """End the run here if a shutdown was requested, for work that is cheap to repeat.

    Raises:
        Stopped: a shutdown was requested.
    """
    if _requested.is_set():
        raise stopped(RESUME_HINT)


def wait_for_request() -> None:
    """Block until a shutdown is requested, for a job that only serves."""
    _requested.wait()


def handle_sigterm(report: Callable[[str], None]) -> None:
    """Install a SIGTERM handler for graceful shutdown.

    Call it in the main thread once Ray is up, as Ray installs a handler too.
    """
    before = signal.getsignal(signal.SIGTERM)
    read_end, write_end = os.pipe()

    def on_sigterm(_number: int, _frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, before)  # the next one ends the run
        os.write(write_end, b".")  # a handler may not take locks: the thread does the rest

    def request_shutdown() -> None:
        os.read(read_end, 1)
        _requested.set()
        report("Stopping: work in flight is finished and written; a second SIGTERM ends the run at once")

    signal.signal(signal.SIGTERM, on_sigterm)
    threading.Thread(target=request_shutdown, name="shutdown", daemon=True).start()

"""A first SIGTERM lets a run finish what is in flight and end; a second one ends it at once.

`ray job stop` sends it, and so does a batch system or a machine that is taken away. The run then
leaves a mark in its output, which whoever reads a shard of work looks for first: no more is read,
what was read is written, and the same command goes on with the rest.
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

MARK = "_stopping"
LOOK_EVERY_S = 0.2

_asked = threading.Event()


@dataclass(frozen=True)
class StopFlag:
    """What stands before the work of a step, on every machine: a place in the run's output."""

    path: str

    def is_open(self) -> bool:
        """Whether more work may be begun."""
        return not file_io.exists(self.path)


@contextmanager
def stop_flag(output: str) -> Iterator[StopFlag]:
    """A gate that closes when this process is asked to stop.

    Raises:
        Stopped: it was asked before.
    """
    check()
    made = StopFlag(file_io.join(output, MARK))
    file_io.delete_file(made.path)  # of a run that was killed while it stopped
    ended = threading.Event()
    threading.Thread(target=_close, args=(made, ended), name="gate", daemon=True).start()
    try:
        yield made
    finally:
        ended.set()
        with suppress(StorageError):
            file_io.delete_file(made.path)


def _close(one: StopFlag, ended: threading.Event) -> None:
    while not ended.wait(LOOK_EVERY_S):
        if _asked.is_set():
            with suppress(StorageError):  # tried again in a moment
                file_io.write_bytes(one.path, b"")
                return


RESUME_HINT = "what is written stays; the same command goes on from there"


def is_requested() -> bool:
    """Return whether this process was asked to stop."""
    return _asked.is_set()


def check() -> None:
    """End the run here if it was asked to stop: for work that is cheap to begin again.

    Raises:
        Stopped: it was.
    """
    if _asked.is_set():
        raise Stopped(RESUME_HINT)


def wait() -> None:
    """Return once this process is asked to stop: for a job that only serves."""
    _asked.wait()


def handle_sigterm(say: Callable[[str], None]) -> None:
    """Take SIGTERM as the wish to stop; to be called by the main thread, once Ray is up (it sets a handler too)."""
    before = signal.getsignal(signal.SIGTERM)
    wake, told = os.pipe()

    def asked(_number: int, _frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, before)  # the next one is hard
        os.write(told, b".")  # a handler may hold no lock: the thread does the rest

    def tell() -> None:
        os.read(wake, 1)
        _asked.set()
        say("Stopping: what is in flight is finished and written; a second SIGTERM ends the run at once")

    signal.signal(signal.SIGTERM, asked)
    threading.Thread(target=tell, name="stopping", daemon=True).start()

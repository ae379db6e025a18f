"""One run at a time on one output: two would move and overwrite each other's tables.

    local   .running.lock    locked by the operating system for as long as the process lives
    S3      _running.json    who holds the output, and when it was last heard of

A lease in an object store is left behind by a run that is killed. Its machine and process tell a run
on the same machine that it is dead; for others it is stale after a while (clocks are taken to agree
within a minute). A run that finds its lease taken, since it slept or its storage was away, ends.
"""

import json
import os
import signal
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from filelock import FileLock, Timeout
from fsspec.implementations.local import LocalFileSystem

from factory.errors import StorageError, UserError
from factory.storage import file_io

LOCK = ".running.lock"
LEASE = "_running.json"
BEAT_S = 20.0
STALE_S = 90.0
TAKEN = signal.SIGUSR2
"""Interrupts the main thread of a run that was taken over: a shell's background jobs ignore SIGINT."""


@dataclass(frozen=True)
class Holder:
    """A run that holds an output."""

    run: str
    host: str
    machine: str
    """Boot and process namespace: where a process id means the same process as here."""
    pid: int
    born: str
    """When the process started, since a process id is given out again."""
    heard: float
    """When it was last heard of, in seconds since 1970."""

    def is_dead(self) -> bool:
        """Whether it is known to be gone: its process ran on this machine, and does not any more."""
        return self.machine == _machine() and _born(self.pid) != self.born


def _machine() -> str:
    return f"{Path('/proc/sys/kernel/random/boot_id').read_text().strip()} {os.readlink('/proc/self/ns/pid')}"


def _born(pid: int) -> str | None:
    """When a process started, in the system's ticks; None where it has ended."""
    try:
        state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if state in "ZX" else fields[18]


@contextmanager
def hold_run_lock(output: str, beat_s: float = BEAT_S) -> Iterator[None]:
    """Hold an output for as long as the block runs; a process that is killed holds it no more.

    Raises:
        UserError: another run holds it, or has taken it over.
    """
    fs, name = file_io.filesystem(output)
    with _locked(output, name) if isinstance(fs, LocalFileSystem) else _leased(output, beat_s):
        yield


@contextmanager
def _locked(output: str, folder: str) -> Iterator[None]:
    lock = FileLock(f"{folder}/{LOCK}")
    with file_io.storage_errors(output):
        while not lock.is_locked:
            try:
                os.makedirs(folder, exist_ok=True)
                lock.acquire(timeout=0)
            except FileNotFoundError:  # another process cleared the empty folder away (`storage.check_writable`)
                continue
            except Timeout:
                raise UserError(
                    f"output {output}: another run works on it; wait for its end, or choose another output"
                ) from None
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _leased(output: str, beat_s: float) -> Iterator[None]:
    path = file_io.join(output, LEASE)
    me = Holder(uuid.uuid4().hex, socket.gethostname(), _machine(), os.getpid(), _born(os.getpid()) or "", time.time())
    _take(output, path, me)
    before = signal.signal(TAKEN, signal.default_int_handler)
    beat = _Beat(path, me, beat_s)
    beat.start()
    try:
        yield
    except BaseException:  # Ray makes others out of the interrupt
        if not beat.taken_by:
            raise
    finally:
        beat.end()
        signal.signal(TAKEN, before)
    if beat.taken_by:
        raise UserError(
            f"output {output}: {_told(beat.taken_by)} has taken it over, since this one was not heard of for "
            f"{STALE_S:.0f} s; leave it to that one, or choose another output"
        )


def _take(output: str, path: str, me: Holder) -> None:
    """Write the lease where there is none that counts.

    Two that take over a dead run's lease in the same moment may both go on; one of them ends at its next beat.

    Raises:
        UserError: a run that may be alive has it.
    """
    while not file_io.create_bytes(path, _document(me)):
        other = _holder(path)
        if other is None:
            continue
        if other.run == me.run:  # the answer to the first request was lost on the way
            return
        free_in = other.heard + STALE_S - time.time()
        if free_in > 0 and not other.is_dead():
            silent = max(0, time.time() - other.heard)
            raise UserError(
                f"output {output}: {_told(other)} works on it, last heard of {silent:.0f} s ago; "
                f"wait for its end, or choose another output; if it is dead, the output is free in {free_in:.0f} s, "
                f"or once you delete {path}"
            )
        file_io.delete_file(path)


def _told(other: Holder) -> str:
    return f"another run (host {other.host}, process {other.pid})"


def _holder(path: str) -> Holder | None:
    """Who has the lease; None where nobody has it."""
    document = file_io.read_if_there(path)
    if document is None:
        return None
    try:
        return Holder(**json.loads(document))
    except (ValueError, TypeError):  # not written by us: nobody holds anything by it
        return Holder("", "unknown", "", 0, "", 0.0)


def _document(holder: Holder) -> bytes:
    return (json.dumps(asdict(holder), indent=2) + "\n").encode()


class _Beat(threading.Thread):
    """Renews the lease until the end; where another run has taken it, interrupts the main thread."""

    def __init__(self, path: str, me: Holder, every_s: float) -> None:
        super().__init__(name="lease", daemon=True)
        self.taken_by: Holder | None = None
        self._path, self._me, self._every_s = path, me, every_s
        self._ended = threading.Event()

    def run(self) -> None:
        while not self._ended.wait(self._every_s):
            with suppress(StorageError):  # the next beat may reach the storage again
                other = _holder(self._path)
                if other and other.run != self._me.run:
                    self.taken_by = other
                    signal.pthread_kill(threading.main_thread().ident or 0, TAKEN)
                    return
                file_io.write_bytes(self._path, _document(replace(self._me, heard=time.time())))

    def end(self) -> None:
        """Stop, and let go of the lease."""
        self._ended.set()
        self.join()
        with suppress(StorageError):  # it is stale in a while
            if (other := _holder(self._path)) and other.run == self._me.run:
                file_io.delete_file(self._path)

"""The run lock of an output: two runs would move and overwrite each other's tables.

    local   .running.lock    locked by the operating system as long as the process lives
    S3      _running.json    a lease: which run holds the output, and when it was last renewed

A killed run leaves its lease in the object store. On the same machine, another run sees by the process
that its holder is dead; elsewhere the lease expires after STALE_S. One that seems expired, or renewed in the future,
is watched before it is taken over: a living run renews it, whatever its clock says.
A run ends if another one took its lease over, because it was suspended or could not reach its storage.
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
RENEW_EVERY_S = 20.0
STALE_S = 90.0
CLOCKS_DIFFER_S = 60.0
"""By how much clocks of two machines may differ without a second look."""
WATCHED_RENEWALS = 1.5
"""For how many of its intervals a lease is watched."""
TAKEN_OVER = signal.SIGUSR2
"""Interrupts the main thread of a run that lost its lease: background jobs of a shell ignore SIGINT."""


@dataclass(frozen=True)
class LeaseHolder:
    """A run that holds the lease of an output."""

    run: str
    host: str
    machine: str
    """Boot and process namespace, within which a process id is unambiguous."""
    pid: int
    started: str
    """When the process started, since process ids are reused."""
    renewed: float
    """When the lease was last renewed, in seconds since 1970."""

    def is_dead(self) -> bool:
        """Return whether its process ran on this machine and has ended."""
        return self.machine == _machine() and _start_time(self.pid) != self.started


def _machine() -> str:
    return f"{Path('/proc/sys/kernel/random/boot_id').read_text().strip()} {os.readlink('/proc/self/ns/pid')}"


def _start_time(pid: int) -> str | None:
    """Return when a process started, in ticks of the system, or None if it has ended."""
    try:
        state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if state in "ZX" else fields[18]


@contextmanager
def hold_run_lock(output: str, renew_every_s: float = RENEW_EVERY_S) -> Iterator[None]:
    """Hold the run lock of an output while the block runs; a killed process releases it.

    Raises:
        UserError: another run holds it, or has taken it over.
    """
    fs, name = file_io.filesystem(output)
    with _lock_file(output, name) if isinstance(fs, LocalFileSystem) else _lease(output, renew_every_s):
        yield


@contextmanager
def _lock_file(output: str, folder: str) -> Iterator[None]:
    lock = FileLock(f"{folder}/{LOCK}")
    with file_io.storage_errors(output):
        while not lock.is_locked:
            try:
                os.makedirs(folder, exist_ok=True)
                lock.acquire(timeout=0)
            except FileNotFoundError:  # another process deleted the empty folder (`file_io.check_writable`)
                continue
            except Timeout:
                raise UserError(
                    f"output {output}: another run works on it; wait until it ends, or choose another output"
                ) from None
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _lease(output: str, renew_every_s: float) -> Iterator[None]:
    path = file_io.join(output, LEASE)
    own = LeaseHolder(
        uuid.uuid4().hex, socket.gethostname(), _machine(), os.getpid(), _start_time(os.getpid()) or "", time.time()
    )
    _acquire(output, path, own, WATCHED_RENEWALS * renew_every_s)
    before = signal.signal(TAKEN_OVER, signal.default_int_handler)
    renewal = _Renewal(path, own, renew_every_s)
    renewal.start()
    try:
        yield
    except BaseException:  # Ray converts the interrupt to other exceptions
        if not renewal.taken_by:
            raise
    finally:
        renewal.end()
        signal.signal(TAKEN_OVER, before)
    if renewal.taken_by:
        raise UserError(
            f"output {output}: {_describe(renewal.taken_by)} has taken it over, because this one did not renew its "
            f"lease for {STALE_S:.0f} s; let that run go on, or choose another output"
        )


def _acquire(output: str, path: str, own: LeaseHolder, watch_s: float) -> None:
    """Write the lease, unless another run holds one that is valid.

    Two runs that take over a dead run's lease at the same moment may both continue; one ends at its next renewal.

    Raises:
        UserError: a run that may be alive holds it.
    """
    while not file_io.create_bytes(path, _to_json(own)):
        other = _holder(path)
        if other is None:
            continue
        if other.run == own.run:  # the response to the first request was lost
            return
        silent = time.time() - other.renewed
        if (
            other.run
            and not other.is_dead()
            and (-CLOCKS_DIFFER_S < silent < STALE_S or _changes(path, other, watch_s))
        ):
            silent = max(0.0, silent) if silent < STALE_S else 0.0
            raise UserError(
                f"output {output}: {_describe(other)} works on it, last heard of {silent:.0f} s ago; "
                f"wait until it ends, or choose another output; if it is dead, the output is free in "
                f"{STALE_S - silent:.0f} s, or once you delete {path}"
            )
        file_io.delete_file(path)


def _changes(path: str, holder: LeaseHolder, seconds: float) -> bool:
    """Return whether a lease is renewed within some seconds."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        time.sleep(min(1.0, seconds / 10))
        if (now := _holder(path)) != holder:
            return now is not None
    return False


def _describe(other: LeaseHolder) -> str:
    return f"another run (host {other.host}, process {other.pid})"


def _holder(path: str) -> LeaseHolder | None:
    """Return the holder of the lease, or None if there is no lease."""
    document = file_io.read_if_there(path)
    if document is None:
        return None
    try:
        return LeaseHolder(**json.loads(document))
    except (ValueError, TypeError):  # not written by us, so it locks nothing
        return LeaseHolder("", "unknown", "", 0, "", 0.0)


def _to_json(holder: LeaseHolder) -> bytes:
    return (json.dumps(asdict(holder), indent=2) + "\n").encode()


class _Renewal(threading.Thread):
    """Renews the lease; interrupts the main thread if another run has taken it over."""

    def __init__(self, path: str, own: LeaseHolder, every_s: float) -> None:
        super().__init__(name="lease", daemon=True)
        self.taken_by: LeaseHolder | None = None
        self._path, self._own, self._every_s = path, own, every_s
        self._ended = threading.Event()

    def run(self) -> None:
        while not self._ended.wait(self._every_s):
            with suppress(StorageError):  # the storage may be reachable at the next renewal
                other = _holder(self._path)
                if other and other.run != self._own.run:
                    self.taken_by = other
                    signal.pthread_kill(threading.main_thread().ident or 0, TAKEN_OVER)
                    return
                file_io.write_bytes(self._path, _to_json(replace(self._own, renewed=time.time())))

    def end(self) -> None:
        """Stop renewing, and release the lease."""
        self._ended.set()
        self.join()
        with suppress(StorageError):  # it expires
            if (other := _holder(self._path)) and other.run == self._own.run:
                file_io.delete_file(self._path)

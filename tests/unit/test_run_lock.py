"""One run at a time on an output, on local disk and in an object store (fsspec's in memory)."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from factory.errors import UserError
from factory.storage import file_io, run_lock
from factory.storage.run_lock import LEASE, STALE_S, LeaseHolder, hold_run_lock

HOLD = """
import sys, time
from factory.storage.run_lock import hold_run_lock
with hold_run_lock(sys.argv[1]):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def output() -> str:
    return f"memory://{uuid.uuid4().hex}"


@pytest.fixture
def remote_holder() -> LeaseHolder:
    """A run on another machine that has just renewed its lease."""
    return LeaseHolder("other", "gpu-7", "another boot", 4242, "1", time.time())


def write_lease(output: str, holder: LeaseHolder) -> None:
    file_io.write_bytes(f"{output}/{LEASE}", json.dumps(asdict(holder)).encode())


def read_lease(output: str) -> dict:
    return json.loads(file_io.read_bytes(f"{output}/{LEASE}"))


def own_holder() -> LeaseHolder:
    return LeaseHolder("own", "here", run_lock._machine(), os.getpid(), run_lock._start_time(os.getpid()), time.time())


@pytest.mark.parametrize("where", ["local", "memory"])
def test_second_run_is_refused_until_first_ends(where, tmp_path, request):
    output = str(tmp_path / "run") if where == "local" else request.getfixturevalue("output")
    with hold_run_lock(output), pytest.raises(UserError, match="another run") as caught, hold_run_lock(output):
        pass
    assert output in str(caught.value)
    assert "choose another output" in str(caught.value)
    assert "\n" not in str(caught.value)
    with hold_run_lock(output):
        pass


def test_failed_run_releases_lock(output):
    with pytest.raises(ZeroDivisionError), hold_run_lock(output):
        raise ZeroDivisionError
    assert not file_io.exists(f"{output}/{LEASE}")


def test_killed_process_releases_local_lock(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", HOLD, tmp_path], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    with pytest.raises(UserError, match="another run works on it"), hold_run_lock(str(tmp_path)):
        pass
    process.kill()
    process.wait()
    with hold_run_lock(str(tmp_path)):
        pass


def test_output_below_file_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(UserError, match="there is a file where a folder is needed"),
        hold_run_lock(str(tmp_path / "file" / "run")),
    ):
        pass


def test_remote_holder_is_named_with_expiry(output, remote_holder):
    write_lease(output, replace(remote_holder, renewed=time.time() - 30))
    with pytest.raises(UserError, match="host gpu-7, process 4242") as caught, hold_run_lock(output):
        pass
    for part in ("last heard of 30 s ago", f"free in {STALE_S - 30:.0f} s", f"delete {output}/{LEASE}"):
        assert part in str(caught.value)
    assert read_lease(output)["run"] == "other"


@pytest.mark.parametrize(
    "changed",
    [
        {"renewed": 0.0},
        {"renewed": time.time() + 3600},
        {"pid": 2**22 + 1, "machine": "here"},
        {"started": "another process", "machine": "here", "pid": os.getpid()},
    ],
)
def test_stale_and_dead_leases_are_taken_over(output, remote_holder, changed):
    if "machine" in changed:
        changed["machine"] = run_lock._machine()
    write_lease(output, replace(remote_holder, **changed))
    with hold_run_lock(output, renew_every_s=0.1):
        assert read_lease(output)["pid"] == os.getpid()
        assert read_lease(output)["run"] != "other"
    assert not file_io.exists(f"{output}/{LEASE}")


@pytest.mark.parametrize("shift", [-1000, 1000])
def test_a_living_run_with_another_clock_keeps_its_lease(output, remote_holder, shift):
    ended = threading.Event()

    def renew() -> None:
        while not ended.wait(0.05):
            write_lease(output, replace(remote_holder, renewed=time.time() + shift))

    write_lease(output, replace(remote_holder, renewed=time.time() + shift))
    renewal = threading.Thread(target=renew)
    renewal.start()
    try:
        with pytest.raises(UserError, match="last heard of 0 s ago"), hold_run_lock(output, renew_every_s=0.5):
            pass
    finally:
        ended.set()
        renewal.join()
    assert read_lease(output)["run"] == "other"


def test_lease_of_live_process_is_kept(output):
    write_lease(output, own_holder())
    with pytest.raises(UserError, match="another run"), hold_run_lock(output):
        pass


def test_zombie_process_counts_as_dead(remote_holder):
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    running = replace(
        remote_holder, machine=run_lock._machine(), pid=process.pid, started=run_lock._start_time(process.pid)
    )
    assert not running.is_dead()
    process.kill()
    deadline = time.monotonic() + 10
    while not running.is_dead():
        assert time.monotonic() < deadline
    process.wait()
    assert running.is_dead()


def test_invalid_lease_locks_nothing(output):
    file_io.write_bytes(f"{output}/{LEASE}", b"{}")
    with hold_run_lock(output):
        pass


def test_lease_is_renewed(output):
    with hold_run_lock(output, renew_every_s=0.01):
        first = read_lease(output)
        deadline = time.monotonic() + 10
        while read_lease(output) == first:
            assert time.monotonic() < deadline
        assert read_lease(output) == first | {"renewed": read_lease(output)["renewed"]}


def test_run_ends_when_lease_is_taken_over(output, remote_holder):
    def lose_lease() -> None:
        with hold_run_lock(output, renew_every_s=0.01):
            write_lease(output, remote_holder)
            time.sleep(10)

    with pytest.raises(UserError, match=r"host gpu-7, process 4242\) has taken it over"):
        lose_lease()
    assert read_lease(output)["run"] == "other"


def test_ctrl_c_stays_keyboard_interrupt(output):
    with pytest.raises(KeyboardInterrupt), hold_run_lock(output):
        signal.raise_signal(signal.SIGINT)
    assert not file_io.exists(f"{output}/{LEASE}")


def test_create_bytes_succeeds_once(output):
    assert file_io.create_bytes(f"{output}/x", b"1")
    assert not file_io.create_bytes(f"{output}/x", b"2")
    assert file_io.read_if_there(f"{output}/x") == b"1"
    assert file_io.read_if_there(f"{output}/y") is None


def test_lock_file_is_hidden(tmp_path):
    with hold_run_lock(str(tmp_path)):
        assert [path.name for path in Path(tmp_path).iterdir()] == [run_lock.LOCK]

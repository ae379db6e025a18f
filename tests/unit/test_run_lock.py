"""One run at a time on one output, on local disk and in an object store (fsspec's in memory)."""

import json
import os
import signal
import subprocess
import sys
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
def place() -> str:
    return f"memory://{uuid.uuid4().hex}"


@pytest.fixture
def elsewhere() -> LeaseHolder:
    """A run that was just heard of, on another machine."""
    return LeaseHolder("other", "gpu-7", "another boot", 4242, "1", time.time())


def leave(place: str, holder: LeaseHolder) -> None:
    file_io.write_bytes(f"{place}/{LEASE}", json.dumps(asdict(holder)).encode())


def left(place: str) -> dict:
    return json.loads(file_io.read_bytes(f"{place}/{LEASE}"))


def mine() -> LeaseHolder:
    return LeaseHolder("mine", "here", run_lock._machine(), os.getpid(), run_lock._start_time(os.getpid()), time.time())


@pytest.mark.parametrize("where", ["local", "memory"])
def test_a_second_run_is_refused_in_one_line_until_the_first_ends(where, tmp_path, place):
    output = str(tmp_path / "run") if where == "local" else place
    with hold_run_lock(output), pytest.raises(UserError, match="another run") as told, hold_run_lock(output):
        pass
    assert output in str(told.value)
    assert "choose another output" in str(told.value)
    assert "\n" not in str(told.value)
    with hold_run_lock(output):
        pass


def test_a_run_that_fails_lets_go(place):
    with pytest.raises(ZeroDivisionError), hold_run_lock(place):
        raise ZeroDivisionError
    assert not file_io.exists(f"{place}/{LEASE}")


def test_a_killed_process_leaves_a_local_output_free(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", HOLD, tmp_path], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    with pytest.raises(UserError, match="another run works on it"), hold_run_lock(str(tmp_path)):
        pass
    process.kill()
    process.wait()
    with hold_run_lock(str(tmp_path)):
        pass


def test_an_output_below_a_file_is_told_as_such(tmp_path):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(UserError, match="there is a file where a folder is needed"),
        hold_run_lock(str(tmp_path / "file" / "run")),
    ):
        pass


def test_a_run_elsewhere_is_named_with_when_it_counts_no_more_and_how_to_override_it(place, elsewhere):
    leave(place, replace(elsewhere, renewed=time.time() - 30))
    with pytest.raises(UserError, match="host gpu-7, process 4242") as told, hold_run_lock(place):
        pass
    for part in ("last heard of 30 s ago", f"free in {STALE_S - 30:.0f} s", f"delete {place}/{LEASE}"):
        assert part in str(told.value)
    assert left(place)["run"] == "other"


@pytest.mark.parametrize(
    "changed",
    [
        {"renewed": 0.0},
        {"pid": 2**22 + 1, "machine": "here"},
        {"started": "another process had this number", "machine": "here", "pid": os.getpid()},
    ],
)
def test_a_stale_lease_and_that_of_a_dead_process_of_this_machine_are_taken_over(place, elsewhere, changed):
    if "machine" in changed:
        changed["machine"] = run_lock._machine()
    leave(place, replace(elsewhere, **changed))
    with hold_run_lock(place):
        assert left(place)["pid"] == os.getpid()
        assert left(place)["run"] != "other"
    assert not file_io.exists(f"{place}/{LEASE}")


def test_a_living_process_of_this_machine_is_not_taken_over(place):
    leave(place, mine())
    with pytest.raises(UserError, match="another run"), hold_run_lock(place):
        pass


def test_a_process_that_was_killed_and_not_yet_reaped_is_dead(elsewhere):
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    running = replace(
        elsewhere, machine=run_lock._machine(), pid=process.pid, started=run_lock._start_time(process.pid)
    )
    assert not running.is_dead()
    process.kill()
    deadline = time.monotonic() + 10
    while not running.is_dead():
        assert time.monotonic() < deadline
    process.wait()
    assert running.is_dead()


def test_what_is_no_lease_holds_nothing(place):
    file_io.write_bytes(f"{place}/{LEASE}", b"{}")
    with hold_run_lock(place):
        pass


def test_a_held_lease_is_renewed(place):
    with hold_run_lock(place, renew_every_s=0.01):
        first = left(place)
        deadline = time.monotonic() + 10
        while left(place) == first:
            assert time.monotonic() < deadline
        assert left(place) == first | {"renewed": left(place)["renewed"]}


def test_a_run_that_was_taken_over_ends_with_one_line_and_leaves_the_others_lease(place, elsewhere):
    def lose_it() -> None:
        with hold_run_lock(place, renew_every_s=0.01):
            leave(place, elsewhere)
            time.sleep(10)

    with pytest.raises(UserError, match=r"host gpu-7, process 4242\) has taken it over"):
        lose_it()
    assert left(place)["run"] == "other"


def test_an_interrupt_by_hand_stays_one(place):
    with pytest.raises(KeyboardInterrupt), hold_run_lock(place):
        signal.raise_signal(signal.SIGINT)
    assert not file_io.exists(f"{place}/{LEASE}")


def test_a_file_is_created_by_one_writer_alone(place):
    assert file_io.create_bytes(f"{place}/x", b"1")
    assert not file_io.create_bytes(f"{place}/x", b"2")
    assert file_io.read_if_there(f"{place}/x") == b"1"
    assert file_io.read_if_there(f"{place}/y") is None


def test_the_lock_file_stays_out_of_the_way_of_the_tables(tmp_path):
    with hold_run_lock(str(tmp_path)):
        assert [path.name for path in Path(tmp_path).iterdir()] == [run_lock.LOCK]

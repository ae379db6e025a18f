"""A run that is asked to end finishes what is in flight; one that is asked twice ends at once."""

import os
import signal
import time

import psutil
import pytest

from tests.integration.test_resume import finished_shards


def started(make_run, delay_s: float, own_ray: bool = False):
    """A run of 160 personas, as soon as its first shard is written."""
    run = make_run("asked", 160)
    run = run.alone() if own_ray else run
    run.config["engine"]["delay_s"] = delay_s
    return run, run.start_until(run.table("profiles").shards)


def test_sigterm_leaves_what_was_in_flight_written_and_the_same_command_does_the_rest(make_run):
    run, process = started(make_run, 0.5)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 1
    assert "Stopping: what is in flight is finished" in run.log()
    told = run.log().splitlines()[-1]
    written = len(run.rows("profiles"))
    assert told == f"stopped: {written} rows of 160 of profiles are written; the same command goes on with the rest"
    assert 0 < written < 160
    assert run.table("profiles").manifest() is None

    before = finished_shards(run, "profiles")
    run.config["engine"]["delay_s"] = 0
    assert f"going on, {written} of 160 rows were there" in run.finish()
    after = finished_shards(run, "profiles")
    assert {name: after[name] for name in before} == before
    ids = [row["character_id"] for row in run.rows("profiles")]
    assert len(ids) == len(set(ids)) == 160


def test_sigterm_to_the_process_group_leaves_ray_up(make_run):
    run, process = started(make_run, 0.5, own_ray=True)
    os.killpg(process.pid, signal.SIGTERM)
    assert process.wait(60) == 1
    written = len(run.rows("profiles"))
    assert 0 < written < 160
    last = f"stopped: {written} rows of 160 of profiles are written; the same command goes on with the rest"
    assert run.log().splitlines()[-1] == last


@pytest.mark.slow
def test_sigterm_to_every_process_ends_the_run(make_run):
    """As systemd does by default: Ray is gone, and the driver must not wait for it."""
    run, process = started(make_run, 3, own_ray=True)
    below = psutil.Process(process.pid).children(recursive=True)
    for one in [psutil.Process(process.pid), *below]:
        one.send_signal(signal.SIGTERM)
    assert process.wait(60) == 1
    assert run.log().splitlines()[-1].startswith("stopped: Ray was ended too, and what was in flight is lost; ")
    _, left = psutil.wait_procs(below, timeout=10)
    assert not left
    run.config["engine"]["delay_s"] = 0
    run.finish()
    assert len({row["character_id"] for row in run.rows("profiles")}) == 160


def test_ctrl_c_ends_a_run_in_one_line(make_run):
    run, process = started(make_run, 0.5)
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(60) == 1
    last = "stopped: by Ctrl-C; what is written stays; the same command goes on from there"
    assert run.log().splitlines()[-1] == last
    assert "Traceback" not in run.log()


@pytest.mark.slow
def test_a_second_sigterm_ends_the_run_at_once(make_run):
    run, process = started(make_run, 3)
    process.send_signal(signal.SIGTERM)
    deadline = time.monotonic() + 20
    while "Stopping" not in run.log():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    asked = time.monotonic()
    assert process.wait(30) != 0
    assert time.monotonic() - asked < 20
    assert "Traceback" not in run.log()

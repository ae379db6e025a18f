"""Graceful shutdown: the first SIGTERM finishes the work in flight, a second one ends the run at once."""

import os
import signal
import time

import psutil
import pytest

from tests.integration.test_resume import finished_shards


def start_run(make_run, delay_s: float, own_ray: bool = False):
    """Start a run of 160 personas, and return once its first shard is written."""
    run = make_run("stopped", 160)
    run = run.alone() if own_ray else run
    run.config["engine"] |= {"delay_s": delay_s, "max_concurrency": 8}
    return run, run.start_until(run.table("profiles").shards)


def test_sigterm_writes_work_in_flight_and_resumes(make_run):
    run, process = start_run(make_run, 0.5)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 1
    assert "Stopping: work in flight is finished" in run.log()
    last = run.log().splitlines()[-1]
    written = len(run.rows("profiles"))
    assert last == f"stopped: {written} rows of 160 of profiles are written; the same command goes on with the rest"
    assert 0 < written < 160
    assert run.table("profiles").manifest() is None

    before = finished_shards(run, "profiles")
    run.config["engine"]["delay_s"] = 0
    assert f"resuming, {written} of 160 rows are there" in run.finish()
    after = finished_shards(run, "profiles")
    assert {name: after[name] for name in before} == before
    ids = [row["character_id"] for row in run.rows("profiles")]
    assert len(ids) == len(set(ids)) == 160


@pytest.mark.slow
def test_sigterm_to_the_process_group_leaves_ray_up(make_run):
    run, process = start_run(make_run, 0.5, own_ray=True)
    os.killpg(process.pid, signal.SIGTERM)
    assert process.wait(60) == 1
    written = len(run.rows("profiles"))
    assert 0 < written < 160
    last = f"stopped: {written} rows of 160 of profiles are written; the same command goes on with the rest"
    assert run.log().splitlines()[-1] == last


@pytest.mark.slow
def test_sigterm_to_every_process_ends_the_run(make_run):
    """As systemd does by default: Ray ends, and the driver must not wait for it."""
    run, process = start_run(make_run, 3, own_ray=True)
    children = psutil.Process(process.pid).children(recursive=True)
    for target in [psutil.Process(process.pid), *children]:
        target.send_signal(signal.SIGTERM)
    assert process.wait(60) == 1
    assert run.log().splitlines()[-1].startswith("stopped: Ray was ended too, and what was in flight is lost; ")
    _, left = psutil.wait_procs(children, timeout=10)
    assert not left
    run.config["engine"]["delay_s"] = 0
    run.finish()
    assert len({row["character_id"] for row in run.rows("profiles")}) == 160


def test_ctrl_c_prints_one_line(make_run):
    run, process = start_run(make_run, 0.5)
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(60) == 1
    last = "stopped: by Ctrl-C; finished rows are kept; the same command resumes the run"
    assert run.log().splitlines()[-1] == last
    assert "Traceback" not in run.log()


@pytest.mark.slow
def test_second_sigterm_ends_run_at_once(make_run):
    run, process = start_run(make_run, 3)
    process.send_signal(signal.SIGTERM)
    deadline = time.monotonic() + 20
    while "Stopping" not in run.log():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    sent = time.monotonic()
    assert process.wait(30) != 0
    assert time.monotonic() - sent < 20
    assert "Traceback" not in run.log()

"""A Ray that cannot be joined or started: the last line and exit status of the job."""

import os
import re
import signal
import socket
import subprocess
import time

import psutil
import pytest
import ray


@pytest.fixture
def listener():
    """A port with a listener that never sends anything."""
    with socket.socket() as open_port:
        open_port.bind(("127.0.0.1", 0))
        open_port.listen()
        yield open_port.getsockname()[1]


def test_missing_cluster_token_is_user_error(make_run, listener, tmp_path):
    run = make_run("tokenless", 2)
    run.environment = {
        "RAY_ADDRESS": f"127.0.0.1:{listener}",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(tmp_path / "none"),
    }
    assert run.start().wait(60) == 2
    assert re.fullmatch(r"error: RAY_ADDRESS .*token is missing here.*RAY_AUTH_TOKEN_PATH.*\n", run.log())


@pytest.mark.slow
def test_port_without_head_fails_within_a_minute(make_run, listener):
    run = make_run("no-head", 2)
    run.environment = {"RAY_ADDRESS": f"127.0.0.1:{listener}"}
    assert run.start().wait(90) == 2
    assert re.fullmatch(r"error: RAY_ADDRESS .*cannot be joined.*a head of the same Ray must run there.*\n", run.log())


def test_failed_ray_start_prints_one_line(make_run):
    run = make_run("no-patience", 2)
    run.environment = {"RAY_gcs_server_port_wait_time_s": "0"}
    assert run.start().wait(60) == 1
    assert re.fullmatch(r"error: Ray cannot start on this machine: .*run the same command again.*\n", run.log())


def test_workers_have_the_priority_of_ray_itself(session):
    """By default they yield to every other process, with the engines in them."""
    niceness = ray.remote(lambda: os.getpriority(os.PRIO_PROCESS, 0)).options(num_cpus=0.1)
    assert ray.get(niceness.remote()) == os.getpriority(os.PRIO_PROCESS, 0)


@pytest.mark.slow
def test_ray_with_slow_agent_is_restarted(make_run):
    run = make_run("slow-agent", 2).alone()
    job = run.start()
    agent_of(job).send_signal(signal.SIGSTOP)
    assert job.wait(240) == 0, run.log()


def agent_of(job: subprocess.Popen) -> psutil.Process:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        for child in psutil.Process(job.pid).children(recursive=True):
            try:
                if any(part.endswith("dashboard/agent.py") for part in child.cmdline()):
                    return child
            except psutil.NoSuchProcess:
                continue
        time.sleep(0.02)
    raise AssertionError("Ray started no agent")

"""Listening addresses: a Ray of this machine is on loopback, except where Ray and torch offer no choice."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator

import psutil
import pytest
from ray._raylet import node_ip_address_from_perspective

from factory.runtime import loopback, ray_head
from tests.integration.runs import PROJECT

FREE = {"RAY_AUTH_MODE": "disabled"}
SMALL = ["--port=0", "--num-cpus=1", "--include-dashboard=false", "--object-store-memory=100000000"]
OWN = node_ip_address_from_perspective(None)
NODES = """
import ray
from factory.runtime import ray_session
ray_session.start_ray()
print(*sorted(node["NodeManagerAddress"] for node in ray.nodes() if node["Alive"]))
"""
EVERYTHING = """
import json, os, psutil, ray
from fastapi import FastAPI
from ray import serve
from factory.runtime import ray_session
from factory.runtime.ray_head import free_port

ray_session.start_ray()
serve.start(http_options={"host": "127.0.0.1", "port": free_port(), "location": "HeadOnly"})
app = FastAPI()

@serve.deployment
@serve.ingress(app)
class App:
    pass

serve.run(App.bind(), name="app", route_prefix="/")
assert sorted(row["id"] for row in ray_session.iter_rows(ray_session.range_dataset(3))) == [0, 1, 2]
me = psutil.Process()
for process in [me, *me.children(recursive=True)]:
    for connection in process.net_connections():
        if connection.status == psutil.CONN_LISTEN:
            print("listens", process.name(), connection.laddr.ip)
serve.shutdown()
"""


def python(code: str, **environment: str) -> str:
    variables = {
        name: value for name, value in os.environ.items() if name not in ("RAY_ADDRESS", *loopback.ENVIRONMENT)
    }
    ran = subprocess.run(
        [sys.executable, "-c", code],
        cwd=PROJECT,
        env=variables | environment,
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def is_loopback(address: str) -> bool:
    return address.removeprefix("::ffff:").startswith("127.") or address == "::1"


def listening_beyond_loopback(pid: int) -> list[str]:
    """Return the names of a process and its descendants that listen beyond loopback."""
    parent = psutil.Process(pid)
    return [
        process.name()
        for process in [parent, *parent.children(recursive=True)]
        for connection in process.net_connections()
        if connection.status == psutil.CONN_LISTEN and not is_loopback(connection.laddr.ip)
    ]


def test_local_run_listens_on_loopback():
    lines = (line.split() for line in python(EVERYTHING).splitlines())
    listening = [words[1:] for words in lines if words[0] == "listens"]  # Ray prints too
    assert {"gcs_server", "raylet", "ray::DashboardAgent", "ray::ProxyActor"} < {name for name, _ in listening}
    # Serve's replicas connect through a port of all interfaces, which is not configurable; it requires Ray's token.
    assert {name for name, address in listening if not is_loopback(address)} == {"ray::ServeReplica:app:App"}


@pytest.fixture
def small_head(request: pytest.FixtureRequest) -> Iterator[ray_head.Head]:
    head = ray_head.start([*SMALL, *getattr(request, "param", [])], FREE)
    yield head
    ray_head.end(head)
    shutil.rmtree(head.folder, ignore_errors=True)


def test_own_head_and_worker_listen_on_loopback(small_head):
    command = [sys.executable, "-m", "factory.runtime.loopback", "start", "--block", "--node-ip-address=127.0.0.1"]
    command += [f"--address={small_head.address}", "--num-cpus=1", f"--temp-dir={small_head.folder}/worker"]
    command += ["--dashboard-agent-listen-port=0", "--object-store-memory=100000000", "--disable-usage-stats"]
    environment = os.environ | FREE | loopback.ENVIRONMENT
    node = subprocess.Popen(command, env=environment, start_new_session=True, stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 100
        while python(NODES, RAY_ADDRESS=small_head.address, **FREE).split() != ["127.0.0.1"] * 2:
            assert time.monotonic() < deadline
            assert node.poll() is None
        assert small_head.address.startswith("127.0.0.1:")
        assert listening_beyond_loopback(small_head.pid) == listening_beyond_loopback(node.pid) == []
    finally:
        node.terminate()
        node.wait(30)


@pytest.mark.skipif(OWN == loopback.ADDRESS, reason="this machine has no address but loopback's")
@pytest.mark.parametrize("small_head", [[f"--node-ip-address={OWN}"]], indirect=True)
def test_foreign_ray_is_joined_by_any_address(small_head):
    port = small_head.address.rpartition(":")[2]
    for host in (OWN, "127.0.0.1", "localhost"):
        assert python(NODES, RAY_ADDRESS=f"{host}:{port}", **FREE).split() == [OWN]

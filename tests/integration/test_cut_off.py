"""A cluster of hosts with networks of their own, one of which is cut off and comes back."""

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from factory import head
from tests.integration.runs import GOOD_PROFILE, Run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

BRIDGE = "factory-br"
NETWORK = "10.213.77"
WORKERS = (2, 3)
PERSONAS = 400
CUT_S = 60
"""Longer than it takes Ray to count a node that does not answer as dead, about half a minute."""
FREE = {"RAY_AUTH_MODE": "disabled"}


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


@dataclass
class Hosts:
    """A head on a bridge, and worker hosts that reach it through a cable each."""

    folder: Path
    head: head.Head
    nodes: dict[int, subprocess.Popen] = field(default_factory=dict)

    def start_node(self, number: int) -> None:
        """Start Ray on a worker host, as its supervisor would."""
        command = [
            "ip", "netns", "exec", f"factory-{number}", head.ray_command(), "start", "--block",
            f"--address={self.head.address}", f"--node-ip-address={NETWORK}.{number}", "--num-cpus=2",
            "--disable-usage-stats", "--object-store-memory=200000000",
        ]  # fmt: skip
        log = (self.folder / f"node-{number}.log").open("a")
        environment = os.environ | FREE
        self.nodes[number] = subprocess.Popen(
            command, env=environment, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True
        )

    def alive(self) -> set[str]:
        """Addresses of the worker hosts that the head counts as alive."""
        command = [head.ray_command(), "list", "nodes", "--format=json", "--filter=state=ALIVE"]
        where = {**os.environ, **FREE, "RAY_ADDRESS": self.head.address}
        told = subprocess.run(command, env=where, capture_output=True, text=True, check=True).stdout
        return {node["node_ip"] for node in json.loads(told) if not node["is_head_node"]}


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator[Hosts]:
    if not shutil.which("ip") or os.geteuid():
        pytest.skip("hosts of their own network take root and iproute2")
    ip("link", "add", BRIDGE, "type", "bridge")
    ip("addr", "add", f"{NETWORK}.1/24", "dev", BRIDGE)
    ip("link", "set", BRIDGE, "up")
    for number in WORKERS:
        ip("netns", "add", f"factory-{number}")
        ip("link", "add", f"cable-{number}", "type", "veth", "peer", "name", "eth0", "netns", f"factory-{number}")
        ip("link", "set", f"cable-{number}", "master", BRIDGE, "up")
        ip("-n", f"factory-{number}", "addr", "add", f"{NETWORK}.{number}/24", "dev", "eth0")
        for device in ("eth0", "lo"):
            ip("-n", f"factory-{number}", "link", "set", device, "up")
    options = [f"--node-ip-address={NETWORK}.1", "--port=0", f"--dashboard-port={head.free_port()}", "--num-cpus=0"]
    standing = Hosts(tmp_path, head.start([*options, "--object-store-memory=200000000"], FREE))
    try:
        for number in WORKERS:
            standing.start_node(number)
        yield standing
    finally:
        for node in standing.nodes.values():
            os.killpg(node.pid, signal.SIGKILL)
        head.end(standing.head)
        shutil.rmtree(standing.head.folder, ignore_errors=True)
        for number in WORKERS:
            ip("netns", "del", f"factory-{number}")  # its end of the cable goes with it
        ip("link", "del", BRIDGE)


def test_a_host_that_is_cut_off_and_comes_back_costs_no_row(hosts, tmp_path):
    source = tmp_path / "personas.jsonl"
    source.write_text("".join(json.dumps({"persona": f"a baker, number {n}"}) + "\n" for n in range(PERSONAS)))
    engine = {"kind": "scripted", "default": json.dumps(GOOD_PROFILE), "delay_s": 8}
    config = {"output": str(tmp_path / "run"), "engine": engine, "personas": {"source": str(source)}}
    run = Run(tmp_path, config, environment={**FREE, "RAY_ADDRESS": hosts.head.address})
    deadline = time.monotonic() + 120
    while len(hosts.alive()) < len(WORKERS):
        assert time.monotonic() < deadline, "the worker hosts do not come up"
        time.sleep(1)

    process = run.start_until(run.table("profiles").shards)
    before = len(run.table("profiles").shards())
    ip("link", "set", "cable-2", "down")
    time.sleep(CUT_S)
    assert hosts.alive() == {f"{NETWORK}.3"}
    assert len(run.table("profiles").shards()) > before, "the other host does not go on"
    ip("link", "set", "cable-2", "up")
    # Ray's node ends itself when it hears that it was given up; a supervisor starts it again.
    hosts.nodes[2].wait(120)
    hosts.start_node(2)
    assert process.wait(400) == 0, run.log()

    rows = run.rows("profiles")
    assert len({row["character_id"] for row in rows}) == len(rows) == PERSONAS
    assert run.reasons("profiles") == {"ok": PERSONAS}
    deadline = time.monotonic() + 120
    while len(hosts.alive()) < len(WORKERS):
        assert time.monotonic() < deadline, "the host that was cut off does not come back"
        time.sleep(1)

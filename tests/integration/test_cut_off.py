"""A cluster of hosts with separate networks: one is cut off and returns, one is interrupted after a notice."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from factory.runtime import ray_head
from factory.training.checkpointing import checkpoints
from tests.integration import small_training
from tests.integration.cloud_metadata import metadata
from tests.integration.runs import GOOD_PROFILE, PROJECT, Run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

BRIDGE = "factory-br"
NETWORK = "10.213.77"
WORKERS = (2, 3)
PERSONAS = 400
NO_AUTH = {"RAY_AUTH_MODE": "disabled"}
FAST_FAILURE_DETECTION = {
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "3000",
    "RAY_health_check_failure_threshold": "3",
}
"""Ray declares a silent host dead after 15 s instead of a minute."""
FAILURE_TIMEOUT_S = 120
NOTICE_S = 120
"""As on AWS."""
SAVE_STEPS = 40
"""Steps between checkpoints."""


def ip(*words: str) -> str:
    return subprocess.run(["ip", *words], check=True, capture_output=True, text=True).stdout


def remove_network() -> None:
    """Stop the hosts' processes and remove their networks, including leftovers of an aborted run."""
    existing = ip("netns", "list").split()
    for host in (f"factory-{number}" for number in WORKERS):
        if host in existing:
            for pid in ip("netns", "pids", host).split():
                with suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)
            ip("netns", "del", host)
    for link in (*(f"cable-{number}" for number in WORKERS), BRIDGE):
        if Path("/sys/class/net", link).exists():
            ip("link", "del", link)


def create_network() -> None:
    """Create a bridge with an address on this machine, and worker hosts connected to it."""
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


@dataclass
class Hosts:
    """A head on the bridge, and the nodes on the worker hosts."""

    folder: Path
    head: ray_head.Head
    cpus: int
    """Nominal CPUs per node."""
    nodes: dict[int, subprocess.Popen] = field(default_factory=dict)

    def start_node(self, number: int) -> None:
        """Start Ray on a worker host, as a supervisor would, and wait until the head reports it alive."""
        deadline = time.monotonic() + 150
        while f"{NETWORK}.{number}" not in self.alive():
            assert time.monotonic() < deadline, f"worker host {number} does not come up; see {self.folder}"
            if number not in self.nodes or self.nodes[number].poll() is not None:  # see `runtime.STARTS`
                self.nodes[number] = self._started(number)
            time.sleep(1)

    def _started(self, number: int) -> subprocess.Popen:
        command = [
            "ip", "netns", "exec", f"factory-{number}", ray_head.ray_command(), "start", "--block",
            f"--address={self.head.address}", f"--node-ip-address={NETWORK}.{number}", f"--num-cpus={self.cpus}",
            "--disable-usage-stats", "--object-store-memory=200000000",
        ]  # fmt: skip
        with (self.folder / f"node-{number}.log").open("a") as log:
            streams = {"stdout": log, "stderr": log, "stdin": subprocess.DEVNULL}
            return subprocess.Popen(command, env=os.environ | NO_AUTH, start_new_session=True, **streams)

    def alive(self) -> set[str]:
        """Return the addresses of worker hosts that the head reports alive."""
        command = [ray_head.ray_command(), "list", "nodes", "--format=json", "--filter=state=ALIVE"]
        where = {**os.environ, **NO_AUTH, "RAY_ADDRESS": self.head.address}
        output = subprocess.run(command, env=where, capture_output=True, text=True, check=True).stdout
        return {node["node_ip"] for node in json.loads(output) if not node["is_head_node"]}


@pytest.fixture
def hosts(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Hosts]:
    if not shutil.which("ip") or os.geteuid():
        pytest.skip("hosts with a network of their own take root and iproute2")
    try:
        remove_network()
        create_network()
    except subprocess.CalledProcessError as problem:
        remove_network()
        pytest.skip(f"hosts with a network of their own cannot be created here: {problem.stderr.strip()}")
    head = None
    try:
        options = [f"--node-ip-address={NETWORK}.1", "--port=0", f"--dashboard-port={ray_head.free_port()}"]
        head = ray_head.start(
            [*options, "--num-cpus=0", "--object-store-memory=200000000"], NO_AUTH | FAST_FAILURE_DETECTION
        )
        hosts = Hosts(tmp_path, head, getattr(request, "param", 2))
        for number in WORKERS:
            hosts.start_node(number)
        yield hosts
    finally:
        remove_network()
        if head:
            ray_head.end(head)
            shutil.rmtree(head.folder, ignore_errors=True)


def started(hosts: Hosts, delay_s: float) -> Run:
    """Start a run on the hosts, and wait for its first shards."""
    source = hosts.folder / "personas.jsonl"
    source.write_text("".join(json.dumps({"persona": f"a baker, number {n}"}) + "\n" for n in range(PERSONAS)))
    engine = {"kind": "scripted", "default": json.dumps(GOOD_PROFILE), "delay_s": delay_s}
    config = {"output": str(hosts.folder / "run"), "engine": engine, "personas": {"source": str(source)}}
    run = Run(hosts.folder, config, environment={**NO_AUTH, "RAY_ADDRESS": hosts.head.address})
    run.start_until(run.table("profiles").shards)
    return run


def check(run: Run) -> None:
    """Assert that every row exists once."""
    assert run.processes[-1].wait(400) == 0, run.log()
    rows = run.rows("profiles")
    assert len({row["character_id"] for row in rows}) == len(rows) == PERSONAS
    assert run.reasons("profiles") == {"ok": PERSONAS}


def busy(number: int, what: str = "ray::Map") -> list[str]:
    """Return the titles of Ray's worker processes on a host that start with a prefix."""
    commands = [Path(f"/proc/{pid}/cmdline") for pid in ip("netns", "pids", f"factory-{number}").split()]
    names = [one.read_text().split("\0")[0] for one in commands if one.exists()]
    return [name for name in names if name.startswith(what)]


def wait_until(holds: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + FAILURE_TIMEOUT_S
    while not holds():
        assert time.monotonic() < deadline, what
        time.sleep(1)


def test_host_cut_off_and_back_loses_no_row(hosts):
    run = started(hosts, delay_s=8)
    before = len(run.table("profiles").shards())
    ip("link", "set", "cable-2", "down")
    wait_until(lambda: hosts.alive() == {f"{NETWORK}.3"}, "the host that is cut off is not declared dead")
    assert run.processes[-1].poll() is None, "the run was over before the host was declared dead"
    ip("link", "set", "cable-2", "up")
    # Ray's node ends itself when it hears that it was declared dead; a supervisor starts it again.
    hosts.nodes[2].wait(FAILURE_TIMEOUT_S)
    hosts.start_node(2)
    assert run.processes[-1].poll() is None, "the run was over before the host was back"
    check(run)
    assert len(run.table("profiles").shards()) > before


@contextmanager
def watched(hosts: Hosts, number: int) -> Iterator[Callable[[], None]]:
    """Run the watcher for interruption notices on a worker host, and yield a function that sends the notice.

    At the end of the block the host is killed.
    """
    with metadata(f"{NETWORK}.1") as cloud:
        module = [sys.executable, "-m", "factory.cluster.spot_notice", "aws", hosts.head.address, cloud.url]
        log = hosts.folder / "notice.log"
        with log.open("w") as file:
            streams = {"stdout": file, "stderr": file}
            inside = ["ip", "netns", "exec", f"factory-{number}", *module]
            watching = subprocess.Popen(inside, cwd=PROJECT, env=os.environ | NO_AUTH, **streams)

        def say() -> None:
            cloud.seconds = NOTICE_S
            assert watching.wait(60) == 0, log.read_text()

        yield say
    hosts.nodes[number].send_signal(signal.SIGKILL)
    for pid in ip("netns", "pids", f"factory-{number}").split():
        with suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGKILL)


def test_draining_host_finishes_its_work_only(hosts):
    with watched(hosts, 2) as notice:
        run = started(hosts, delay_s=10)
        wait_until(lambda: busy(2) and busy(3), "not all hosts have work")
        notice()
        wait_until(lambda: not busy(2), "the host is given more work")
        time.sleep(15)  # more than a shard takes
        assert run.processes[-1].poll() is None, "the run was over before the host was interrupted"
        assert not busy(2)
        assert busy(3)
    check(run)


@pytest.mark.parametrize("hosts", [4], indirect=True, ids=["four CPUs"])  # one host is to have room for both workers
def test_training_saves_on_notice_and_resumes_elsewhere(hosts):
    tiny = hosts.folder / "tiny"
    small_training.save_tiny(str(tiny))
    settings = small_training.settings_of(
        str(tiny), save_steps=SAVE_STEPS, eval_steps=SAVE_STEPS, epochs=4, max_failures=5, save_total_limit=9
    )
    source = hosts.folder / "personas.jsonl"
    source.write_text(json.dumps({"persona": "a baker"}) + "\n")
    config = {"output": str(hosts.folder / "run"), "personas": {"source": str(source)}, "training": settings}
    config["engine"] = {"kind": "scripted"}
    run = Run(hosts.folder, config, environment={**NO_AUTH, "RAY_ADDRESS": hosts.head.address})
    for split, count in (("train", 600), ("validation", 20)):
        small_training.write_dialogues(run.output, split, count)

    def saved() -> list[int]:
        return [one.step for one in checkpoints.complete_checkpoints(f"{run.output}/checkpoints")]

    job = run.start_until(saved, job="train")
    training = next(number for number in WORKERS if busy(number, "ray::RayTrain"))  # Ray packs both workers on one
    with watched(hosts, training) as notice:
        notice()
        wait_until(lambda: any(step % SAVE_STEPS for step in saved()), "no checkpoint is saved on the notice")
        assert job.poll() is None, "the run was over before the host was interrupted"
        (on_notice,) = [step for step in saved() if step % SAVE_STEPS]
    assert job.wait(600) == 0, run.log()
    assert on_notice in saved()
    losses = small_training.curve(run)
    assert list(losses) == list(range(1, max(losses) + 1))
    assert max(losses) > on_notice

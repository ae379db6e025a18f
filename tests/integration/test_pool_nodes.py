"""Pools on several nodes: one is lost, an autoscaler starts and ends them, or the driver is killed."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import psutil
import pytest
import ray

from factory.inference.engine_pool.open_pools import open_pools
from factory.runtime import loopback, ray_head, ray_session
from factory.runtime.ray_head import Head
from tests.integration import pool_scenarios
from tests.integration.pool_scenarios import answer, expected, read_notes, texts
from tests.integration.runs import PROJECT
from tests.integration.test_local_cluster import Cluster
from tests.integration.test_resume import descendants, finished_shards, ids, running_name, still_running

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.filterwarnings("ignore:`ray_remote_args` is deprecated"),  # of Ray Data, which pins the router
]

FREE = {"RAY_AUTH_MODE": "disabled"}
ACTORS = ("EngineReplica", "EnginePools", "MapWorker(MapBatches(Router)")


@dataclass
class Nodes:
    """A cluster of a head, on which a driver is, and of nodes that can be lost."""

    head: Head
    workers: list[subprocess.Popen] = field(default_factory=list)

    @property
    def environment(self) -> dict[str, str]:
        """In which a driver joins it."""
        return {**FREE, **loopback.ENVIRONMENT, "RAY_ADDRESS": self.head.address}

    def add(self, cpus: int, **resources: float) -> subprocess.Popen:
        """Start a node."""
        folder = Path(self.head.folder, f"worker-{len(self.workers)}")
        folder.mkdir()
        command = [
            sys.executable, "-m", "factory.runtime.loopback", "start", "--block", "--node-ip-address=127.0.0.1",
            f"--address={self.head.address}", f"--temp-dir={folder}", "--dashboard-agent-listen-port=0",
            "--disable-usage-stats", f"--num-cpus={cpus}", "--object-store-memory=100000000",
            f"--resources={json.dumps(resources)}",
        ]  # fmt: skip
        with (folder / "node.log").open("w") as log:
            self.workers.append(
                subprocess.Popen(command, env=os.environ | FREE, stdout=log, stderr=log, start_new_session=True)
            )
        return self.workers[-1]

    def has(self, name: str, amount: float) -> bool:
        """Whether the nodes that are alive have so much of a resource; only in a process that has joined."""
        return ray.cluster_resources().get(name, 0) == amount

    def named(self, *names: str) -> list[str]:
        """The actors of some classes that live."""
        running = map(running_name, descendants(self.head.pid))
        return [name for name in running if name and any(part in name for part in names)]


def lose(node: subprocess.Popen) -> None:
    """Kill all processes of a node at once, as when its machine is gone."""
    for process in [psutil.Process(node.pid), *descendants(node.pid)]:
        process.send_signal(signal.SIGKILL)
    node.wait()


def wait_until(holds: Callable[[], object], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.fixture
def nodes() -> Iterator[Nodes]:
    options = ["--port=0", "--num-cpus=3", "--include-dashboard=false", "--object-store-memory=300000000"]
    started = Nodes(ray_head.start(options, FREE))
    yield started
    for node in started.workers:
        if node.poll() is None:
            lose(node)
    ray_head.end(started.head)


@pytest.fixture
def session(nodes: Nodes, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Join the cluster in this process."""
    for name, value in nodes.environment.items():
        monkeypatch.setenv(name, value)
    ray_session.start_ray()
    yield
    ray.shutdown()


def test_the_requests_of_a_lost_node_go_to_the_survivor(nodes, session):
    """No other node comes: the run ends with the engine that is left, which never restarts."""
    both = [nodes.add(0, engine=1) for _ in range(2)]
    wait_until(lambda: nodes.has("engine", 2))
    rows = texts(2000)
    moment: list[float] = []
    with tempfile.TemporaryDirectory() as notes:

        def lose_one() -> None:
            wait_until(lambda: len(read_notes(notes)[0]) == 2 and sum(map(len, read_notes(notes)[0].values())) > 500)
            moment.append(time.time())
            lose(both[0])

        threading.Thread(target=lose_one, daemon=True).start()
        pool = replace(pool_scenarios.settings(notes, (2, 2)), resources={"engine": 1})
        with open_pools() as pools:
            outcome = answer(pools, pool, rows, 16)
        lived = {pid: engine for pid, engine in outcome.engines.items() if engine[-1]["ended"] > moment[0] + 2}
    assert outcome.replies == expected(rows)
    assert len(outcome.engines) == 2
    ((pid, survivor),) = lived.items()
    ends = sorted(note["ended"] for note in survivor)
    busy = replace(outcome, engines={pid: survivor}).busy_share(moment[0], ends[-2 * pool.slots], 1)
    print("survivor busy", busy, "seconds after the loss", ends[-1] - moment[0])
    assert busy >= 0.9
    assert sum(map(len, outcome.engines.values())) <= len(rows) + 2 * pool.slots  # answered, and lost with the node


def test_a_run_ends_on_the_nodes_that_are_left(nodes, make_run):
    both = [nodes.add(2) for _ in range(2)]
    run = make_run("lost", 400)
    run.environment.update(nodes.environment)
    run.config["engine"] |= {"replicas": [2, 2], "num_cpus": 2, "max_concurrency": 16, "delay_s": 1, "delay_sigma": 0.8}
    process = run.start_until(lambda: len(run.table("profiles").shards()) >= 3)
    lose(both[0])
    assert process.wait(240) == 0, run.log()
    check_whole(run, 400)


def check_whole(run, personas: int) -> None:
    found = ids(run, "profiles")
    assert len(found) == len(set(found)) == personas
    assert run.table("profiles").manifest()["ok"] == personas


def killed_and_resumed(run, personas: int, left: Callable[[], list[str]]) -> None:
    """Kill the driver of a run in the middle; check what it leaves, and that the next one makes only the rest."""
    run.config["engine"] |= {"replicas": [2, 2], "max_concurrency": 16, "delay_s": 0.5, "delay_sigma": 0.8}
    run.kill_when(lambda: len(run.table("profiles").shards()) >= 10)
    assert left() == []
    before = finished_shards(run, "profiles")
    run.finish()
    after = finished_shards(run, "profiles")
    assert 10 <= len(before) < len(after)
    assert {shard: after[shard] for shard in before} == before
    check_whole(run, personas)


def test_a_killed_driver_takes_its_own_ray_along(make_run):
    run = make_run("killed", 400).alone()
    children: set[psutil.Process] = set()
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(0.2):
            if run.processes and run.processes[0].poll() is None:
                children.update(descendants(run.processes[0].pid))

    def left() -> list[str]:
        ended.set()
        return still_running(children)

    threading.Thread(target=watch, daemon=True).start()
    killed_and_resumed(run, 400, left)


def test_a_killed_driver_leaves_no_engine_on_its_cluster(nodes, make_run):
    run = make_run("killed", 400)
    run.environment.update(nodes.environment)
    seen: list[str] = []

    def left() -> list[str]:
        assert len(nodes.named("EngineReplica")) in (0, 2)
        deadline = time.monotonic() + 20
        while (names := nodes.named(*ACTORS)) and time.monotonic() < deadline:
            seen.extend(names)
            time.sleep(0.2)
        return names

    killed_and_resumed(run, 400, left)
    wait_until(lambda: not nodes.named(*ACTORS), 20)
    print(set(seen))


@pytest.fixture
def autoscaled(tmp_path) -> Iterator[Cluster]:
    """A cluster whose autoscaler starts up to three nodes for engines, and ends idle ones."""
    settings = tmp_path / "cluster.yaml"
    small = {"object_store_memory": 100_000_000}
    kinds = {
        "tasks": {"resources": {"CPU": 2, **small}, "min_workers": 1, "max_workers": 1},
        "engines": {"resources": {"CPU": 0, "engine": 1, **small}, "max_workers": 3},
    }
    limits = {"max_workers": 4, "idle_timeout_minutes": 0.1, "upscaling_speed": 10}
    settings.write_text(json.dumps({**limits, "available_node_types": kinds}))
    cluster = Cluster(tmp_path)
    cluster.run("local.py", "up", f"--port={ray_head.free_port()}", f"--file={settings}")
    yield cluster
    cluster.run("local.py", "down")


def test_replicas_and_their_nodes_come_and_go_with_the_rows(autoscaled):
    head = autoscaled.head()
    environment = {**autoscaled.environment, **loopback.ENVIRONMENT, "RAY_ADDRESS": head.address}
    command = [sys.executable, "-m", "tests.integration.pool_scenarios", "followed"]
    done = subprocess.run(command, cwd=PROJECT, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("followed ")]
    found = json.loads(line.partition(" ")[2])
    print(found)
    assert found["whole"]
    assert found["nodes"][-1] == 0
    for history in (found["replicas"], found["nodes"]):
        assert max(history) == 3
        assert 1 in history[history.index(3) :]  # back to one while the last rows are answered
    assert found["engines"] == 3

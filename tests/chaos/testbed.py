"""The system under test: an S3 server, a Ray head, worker nodes and an API server, all started by this process."""

import logging
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import ray
from moto.server import ThreadedMotoServer
from ray.core.generated.gcs_pb2 import GcsNodeInfo
from s3fs import S3FileSystem

from factory.runtime import ray_head
from factory.runtime.ray_processes import WORKER_PRIORITY
from factory.runtime.ray_session import START_WAIT_S
from factory.storage import file_io
from tests.integration.openai_server import KEY, OpenAIServer

LATE_S = 1.0
SLOW_DOWN = (
    b"<?xml version='1.0'?><Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
)
NODES = 2
NODES_WAIT_S = 180
NODE_CPUS = 4
"""Nominal CPUs: the actors of judges, engines and training share the real ones. The head has none, as on a cluster, so
that the loss of a node costs work."""


class Testbed:
    """A small cluster with S3, and a method for each kind of fault."""

    def __init__(self, folder: Path) -> None:
        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        self.folder = folder
        self._port = ray_head.free_port()
        self.bucket = f"s3://chaos-{self._port}"  # moto's servers in one process share their data
        self._bucket: ThreadedMotoServer | None = None
        self.environment = {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self._port}",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "us-east-1",
            "RAY_AUTH_MODE": "disabled",
            "RAY_raylet_start_wait_time_s": str(START_WAIT_S),
            "FACTORY_TEST_KEY": KEY,
            **WORKER_PRIORITY,
        }
        os.environ.update(self.environment)  # this process reads the bucket too
        self._clock = folder / "clock"
        # Only the tested processes get it.
        self.environment |= {"CHAOS_CLOCK": str(self._clock), "PYTHONPATH": str(Path(__file__).parent / "clock")}
        self.open_bucket()
        file_io.filesystem(self.bucket)[0].mkdir(self.bucket.removeprefix("s3://"))
        self.api = OpenAIServer()
        options = ["--port=0", "--num-cpus=0", "--include-dashboard=false", "--object-store-memory=500000000"]
        self._head = ray_head.start(options, self.environment)
        self.environment["RAY_ADDRESS"] = self._head.address
        self._nodes = [self._start_node() for _ in range(NODES)]
        self._closing = threading.Event()
        self._supervisor = threading.Thread(target=self._supervise, daemon=True)
        self._supervisor.start()
        self._wait_for_nodes()

    def _wait_for_nodes(self) -> None:
        """Wait until all nodes have joined: a job refuses a cluster that cannot do its work."""
        raylet: Any = ray._raylet
        client = raylet.GcsClient(address=self._head.address)
        deadline = time.monotonic() + NODES_WAIT_S
        while sum(node.state == GcsNodeInfo.ALIVE for node in client.get_all_node_info(timeout=10).values()) <= NODES:
            assert time.monotonic() < deadline, f"the nodes have not joined; see {self.folder}/nodes.log"
            time.sleep(0.5)

    def _supervise(self) -> None:
        """Restart nodes that were killed or whose agent started too slowly (see `ray_session.STARTS`)."""
        while not self._closing.wait(1):
            for number, node in enumerate(self._nodes):
                if node.poll() is not None:
                    self._nodes[number] = self._start_node()

    def close(self) -> None:
        """Stop everything that was started."""
        self._closing.set()
        self._supervisor.join()
        for node in self._nodes:
            for process in [*_below(node.pid), psutil.Process(node.pid)]:
                with suppress(psutil.NoSuchProcess):
                    process.kill()
            node.wait()
        ray_head.end(self._head)
        shutil.rmtree(self._head.folder, ignore_errors=True)
        self.api.stop()
        self.close_bucket()

    def _start_node(self) -> subprocess.Popen[bytes]:
        command = [
            sys.executable, "-m", "factory.runtime.loopback", "start", "--block", "--node-ip-address=127.0.0.1",
            f"--address={self._head.address}", f"--num-cpus={NODE_CPUS}", "--disable-usage-stats",
            "--dashboard-agent-listen-port=0", "--object-store-memory=500000000",
        ]  # fmt: skip
        # In its own session, so that signals from the terminal do not reach it.
        with (self.folder / "nodes.log").open("a") as log:
            environment = os.environ | self.environment
            environment.pop("RAY_ADDRESS", None)
            return subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True, env=environment)

    def open_bucket(self) -> None:
        """Start the S3 server, with the data it had before."""
        self._bucket = ThreadedMotoServer(ip_address="127.0.0.1", port=self._port, verbose=False)
        self._bucket.start()

    def close_bucket(self) -> None:
        """Stop the S3 server: connections are refused."""
        if self._bucket:
            self._bucket.stop()
            self._bucket = None

    def kill_node(self, rng: random.Random) -> str:
        """Kill all processes of a worker node, as if its host were lost; a new node is started."""
        number = rng.randrange(len(self._nodes))
        deadline = time.monotonic() + 180
        while not (raylets := [one for one in _below(self._nodes[number].pid) if _command(one).startswith("raylet")]):
            assert time.monotonic() < deadline, f"no node has started; see {self.folder}/nodes.log"
            time.sleep(0.2)
        node = self._nodes[number]
        # With `ray start` itself: one that still starts its node would wait a minute for the raylet.
        for process in [*raylets, *_below(node.pid), psutil.Process(node.pid)]:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        node.wait(60)
        return f"pid {raylets[0].pid}"

    def kill(self, rng: random.Random, name: str) -> str | None:
        """Kill one of the processes whose command contains a name; return None if there is none."""
        roots = [self._head.pid, *(node.pid for node in self._nodes)]
        found = [process for root in roots for process in _below(root) if name in _command(process)]
        if not found:
            return None
        chosen = rng.choice(sorted(found, key=lambda process: process.pid))
        chosen.send_signal(signal.SIGKILL)
        return f"pid {chosen.pid}"

    def disturb_bucket(self, rng: random.Random, seconds: float) -> str:
        """Let the S3 server refuse half of the requests with 503 for some seconds, and answer the others late."""
        assert self._bucket
        server = self._bucket._server
        assert server
        answer, refused = server.app, 0

        def disturbed(environ: dict, start_response: Callable) -> Iterable[bytes]:
            nonlocal refused
            if rng.random() < 0.5:
                refused += 1
                start_response("503 Slow Down", [("Content-Type", "application/xml")])
                return [SLOW_DOWN]
            time.sleep(LATE_S)
            return answer(environ, start_response)

        server.app = disturbed
        time.sleep(seconds)
        server.app = answer
        return f"{refused} refused"

    def shift_clock(self, rng: random.Random) -> str:
        """Set the wall clock of all Python processes forward or back by up to an hour."""
        return self._set_clock(rng.randrange(-3600, 3600))

    def advance_clock(self, rng: random.Random) -> str:
        """Set the wall clock of all Python processes forward by up to an hour.

        Ray Serve's controller measures the pauses between health checks by it: set back by an hour, it replaces no
        broken replica for an hour.
        """
        before = int(self._clock.read_text()) if self._clock.exists() else 0
        return self._set_clock(before + rng.randrange(3600))

    def _set_clock(self, seconds: int) -> str:
        self._clock.write_text(str(seconds))
        return f"{seconds:+d} s"

    def stop_bucket(self, seconds: float) -> str:
        """Stop the S3 server for some seconds."""
        self.close_bucket()
        time.sleep(seconds)
        self.open_bucket()
        return f"{seconds:.0f} s"


def _below(pid: int) -> list[psutil.Process]:
    with suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).children(recursive=True)
    return []


def _command(process: psutil.Process) -> str:
    with suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
        return " ".join([process.name(), *process.cmdline()])
    return ""


@contextmanager
def open_testbed(folder: Path) -> Iterator[Testbed]:
    """Run a testbed during the block."""
    before = dict(os.environ)
    S3FileSystem.clear_instance_cache()  # cached clients are not keyed by endpoint
    testbed = Testbed(folder)
    try:
        yield testbed
    finally:
        testbed.close()
        os.environ.clear()
        os.environ.update(before)
        S3FileSystem.clear_instance_cache()

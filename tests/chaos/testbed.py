"""What the faults are done to: an S3 server, a Ray head, worker nodes, a server of an API. All are this process's."""

import logging
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
from moto.server import ThreadedMotoServer
from s3fs import S3FileSystem

from factory.runtime import ray_head
from factory.runtime.ray_session import START_WAIT_S
from factory.storage import file_io
from tests.integration.openai_server import KEY, OpenAIServer

NODES = 2
NODE_CPUS = 4
"""In name: the actors of a judge fleet, of an engine and of a training share the real ones. The head has none, as on
a cluster, so that the loss of a node costs work."""


class Stage:
    """A small cluster over S3, with a door for each fault."""

    def __init__(self, folder: Path) -> None:
        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        self.folder = folder
        self._port = ray_head.free_port()
        self.bucket = f"s3://chaos-{self._port}"  # what one server holds, all in this process do
        self._bucket: ThreadedMotoServer | None = None
        self.environment = {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self._port}",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "us-east-1",
            "RAY_AUTH_MODE": "disabled",
            "RAY_raylet_start_wait_time_s": str(START_WAIT_S),
            "FACTORY_TEST_KEY": KEY,
        }
        os.environ.update(self.environment)  # this process looks into the bucket too
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

    def _supervise(self) -> None:
        """Start nodes again that have ended: were killed, or had an agent that was slow to start (`runtime.STARTS`)."""
        while not self._closing.wait(1):
            for number, node in enumerate(self._nodes):
                if node.poll() is not None:
                    self._nodes[number] = self._start_node()

    def close(self) -> None:
        """End all that was started."""
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
        # A node of its own session: what a terminal sends this process does not reach it.
        with (self.folder / "nodes.log").open("a") as log:
            return subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)

    def open_bucket(self) -> None:
        """Start the S3 server; what it held is still there."""
        self._bucket = ThreadedMotoServer(ip_address="127.0.0.1", port=self._port, verbose=False)
        self._bucket.start()

    def close_bucket(self) -> None:
        """Stop it: connections are refused."""
        if self._bucket:
            self._bucket.stop()
            self._bucket = None

    def kill_node(self, draw: random.Random) -> str:
        """Kill all processes of a worker node at once, as where its host is lost, and have a new node come."""
        number = draw.randrange(len(self._nodes))
        deadline = time.monotonic() + 180
        while not (raylets := [one for one in _below(self._nodes[number].pid) if _command(one).startswith("raylet")]):
            assert time.monotonic() < deadline, f"no node has come up; see {self.folder}/nodes.log"
            time.sleep(0.2)
        node = self._nodes[number]
        for process in [*raylets, *_below(node.pid)]:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        node.wait(60)
        return f"pid {raylets[0].pid}"

    def kill(self, draw: random.Random, name: str) -> str | None:
        """Kill one of the processes whose command has a name in it; None where there is none now."""
        roots = [self._head.pid, *(node.pid for node in self._nodes)]
        found = [process for root in roots for process in _below(root) if name in _command(process)]
        if not found:
            return None
        chosen = draw.choice(sorted(found, key=lambda process: process.pid))
        chosen.send_signal(signal.SIGKILL)
        return f"pid {chosen.pid}"

    def stop_bucket(self, seconds: float) -> str:
        """Take the S3 server away for a while."""
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
def staged(folder: Path) -> Iterator[Stage]:
    """A stage for as long as it is wanted."""
    before = dict(os.environ)
    S3FileSystem.clear_instance_cache()  # a client of another endpoint, which its key does not hold
    stage = Stage(folder)
    try:
        yield stage
    finally:
        stage.close()
        os.environ.clear()
        os.environ.update(before)
        S3FileSystem.clear_instance_cache()

"""Real runs: the job in a process of its own, on local disk or S3."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from factory.storage import file_io
from factory.storage.tables import Table

PROJECT = Path(__file__).parents[2]
GOOD_PROFILE = {
    "name": "Ada Oduya", "age": "34", "gender": "female", "race": "Black", "birth_place": "Lagos",
    "appearance": "Tall, with short hair and a floured apron.",
        "experience": "Her aunt taught her to bake, and she opened a shop at thirty.",
        "personality": "Warm and dry, she talks in short sentences.",
}  # fmt: skip


@dataclass
class Run:
    """A config in a file, and the job run on it as often as a test likes."""

    folder: Path
    config: dict
    processes: list[subprocess.Popen] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)
    killed: int = 0

    @property
    def output(self) -> str:
        """Where the tables are."""
        return self.config["output"]

    def alone(self) -> "Run":
        """The same with a Ray of its own, whose processes are below the job's and end with it."""
        for name in ("RAY_ADDRESS", "RAY_AUTH_MODE"):
            self.environment.pop(name, None)
        return self

    def start(self, *arguments: str, job: str = "synthesize") -> subprocess.Popen:
        """Start a job and return its process."""
        path = self.folder / "config.json"
        path.write_text(json.dumps(self.config))
        command = [sys.executable, PROJECT / "jobs" / f"{job}.py", "--config", path, *arguments]
        log = (self.folder / f"log-{len(self.processes)}.txt").open("w")
        streams = {"stdout": log, "stderr": subprocess.STDOUT}
        environment = os.environ | self.environment
        process = subprocess.Popen(command, cwd=self.folder, env=environment, start_new_session=True, **streams)
        self.processes.append(process)
        return process

    def log(self) -> str:
        """What the last process said."""
        return (self.folder / f"log-{len(self.processes) - 1}.txt").read_text()

    def finish(self, *arguments: str, job: str = "synthesize", timeout: float = 300) -> str:
        """Run a job to its end and return what it said."""
        code = self.start(*arguments, job=job).wait(timeout)
        assert code == 0, self.log()
        return self.log()

    def start_until(self, ready: Callable[[], object], *arguments: str, job: str = "synthesize") -> subprocess.Popen:
        """Start a job, and return its process as soon as something holds."""
        process = self.start(*arguments, job=job)
        deadline = time.monotonic() + 300
        while not ready():
            assert process.poll() is None, self.log()
            assert time.monotonic() < deadline, self.log()
            time.sleep(0.05)
        return process

    def kill_when(self, ready: Callable[[], bool], *arguments: str, job: str = "synthesize") -> None:
        """Start a job, and kill -9 its driver as soon as something holds."""
        process = self.start_until(ready, *arguments, job=job)
        process.send_signal(signal.SIGKILL)
        process.wait()

    def table(self, name: str) -> Table:
        """A table of the run."""
        return Table(self.output, name)

    def rows(self, name: str) -> list[dict]:
        """All rows of a table, rejected input included."""
        table = self.table(name)
        files = file_io.list_names(table.path, ".parquet")
        return [row for file in files for row in table.read(file.removesuffix(".parquet")).to_pylist()]

    def reasons(self, name: str) -> dict[str, int]:
        """How many rows a table has by reason; accepted ones count as `ok`."""
        return dict(Counter(row["reason"] or row["status"] for row in self.rows(name)))

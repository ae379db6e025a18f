"""Runs for tests, a Ray that they share, and moto's server as their S3."""

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import ray
from moto.server import ThreadedMotoServer

from factory.runtime import loopback, ray_head, ray_session
from factory.storage import file_io
from tests.integration.endpoint_client import KEY_ENV
from tests.integration.openai_server import KEY, OpenAIServer
from tests.integration.runs import GOOD_PROFILE, Run


@pytest.fixture(scope="session")
def s3() -> Iterator[str]:
    """The URL of an empty bucket on a server that speaks S3; the environment points at it."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    environment = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "a-secret-of-these-tests",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    before = {name: os.environ.get(name) for name in environment}
    os.environ.update(environment)
    fs, _ = file_io.filesystem("s3://factory-test")
    fs.mkdir("factory-test")
    yield "s3://factory-test"
    server.stop()
    for name, value in before.items():
        os.environ.pop(name) if value is None else os.environ.update({name: value})


@pytest.fixture(scope="session")
def shared_ray(s3: str) -> Iterator[dict[str, str]]:
    """The environment in which a job joins a Ray that stands here: one of its own costs it half of 22 s.

    Its workers have the environment that it started in: the bucket's, and no key of an endpoint.
    """
    free = {"RAY_AUTH_MODE": "disabled"}
    options = ["--port=0", "--num-cpus=2", "--include-dashboard=false", "--object-store-memory=500000000"]
    standing = ray_head.start(options, free)
    yield {**free, **loopback.ENVIRONMENT, "RAY_ADDRESS": standing.address}
    ray_head.end(standing)
    shutil.rmtree(standing.folder, ignore_errors=True)


@pytest.fixture
def session(shared_ray: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Join that Ray in this process, for tests that need no job of their own."""
    for name, value in shared_ray.items():
        monkeypatch.setenv(name, value)
    ray_session.start_ray()
    yield
    ray.shutdown()


@pytest.fixture
def make_run(tmp_path: Path, shared_ray: dict[str, str]) -> Iterator[Callable[..., Run]]:
    """Make a run with scripted replies over so many personas, with settings of a test's own."""
    yield from make_runs(tmp_path, shared_ray)


@pytest.fixture(scope="module")
def make_module_run(
    tmp_path_factory: pytest.TempPathFactory, shared_ray: dict[str, str]
) -> Iterator[Callable[..., Run]]:
    """The same for a run that all tests of a module look at."""
    yield from make_runs(tmp_path_factory.mktemp("runs"), shared_ray)


def make_runs(folder: Path, environment: dict[str, str]) -> Iterator[Callable[..., Run]]:
    """Yield what makes runs in a folder; in the end, end what still runs."""
    runs: list[Run] = []

    def make(name: str, personas: int = 40, output: str | None = None, **settings: object) -> Run:
        home = folder / name
        home.mkdir()
        source = home / "personas.jsonl"
        source.write_text("".join(json.dumps({"persona": f"a baker, number {n}"}) + "\n" for n in range(personas)))
        config = {
            "output": f"{output or home}/{name}",
            "engine": {"kind": "scripted", "default": json.dumps(GOOD_PROFILE)},
            "personas": {"source": str(source)},
            **settings,
        }
        # Small models write hardly a profile that keeps the rules, and tests of rules say which they want.
        config["profiles"] = {"rules": "off"} | config.get("profiles", {})
        runs.append(Run(home, config, environment=dict(environment)))
        return runs[-1]

    yield make
    for run in runs:
        for process in run.processes:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


@pytest.fixture
def make_disk(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Make a disk of a size such as `150k`."""
    disk = tmp_path / "disk"
    disk.mkdir()

    def make(size: str) -> Path:
        mounting = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(disk)]
        if not shutil.which("mount") or subprocess.run(mounting, capture_output=True, check=False).returncode:
            pytest.skip("a small disk cannot be mounted here: it takes root and the right to mount")
        return disk

    yield make
    if disk.is_mount():
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


@pytest.fixture(scope="module")
def running() -> Iterator[OpenAIServer]:
    """An endpoint that the tests of a module share."""
    server = OpenAIServer()
    yield server
    server.stop()


@pytest.fixture
def server(running: OpenAIServer, monkeypatch: pytest.MonkeyPatch) -> OpenAIServer:
    """That endpoint without rules, with its key in the environment."""
    monkeypatch.setenv(KEY_ENV, KEY)
    running.rule()
    return running


@pytest.fixture
def browser_page():
    """A page in a browser window of a phone's size."""
    from playwright.sync_api import sync_playwright  # few tests need it

    chromium = shutil.which("chromium")
    if not chromium:
        pytest.skip("Chromium is not installed; Debian's package is `chromium`")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 390, "height": 844})
        page.set_default_timeout(30_000)
        yield page
        browser.close()

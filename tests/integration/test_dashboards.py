"""The dashboards with a real run: Prometheus scrapes it, and every panel's query returns data."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from cluster.dashboards import console, show
from factory.resources import RESOURCES
from factory.runtime import ray_head

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not shutil.which("prometheus"),
        reason="prometheus is not installed: apt-get install --no-install-recommends prometheus",
    ),
]
DASHBOARD = json.loads((RESOURCES / "cluster/dashboards/factory.json").read_text())
NEEDS_MORE = {
    "KV cache in use": "a vLLM engine",
    "Requests in the engines": "an engine that is an actor",
    "GPU use": "a GPU",
    "GPU memory in use": "a GPU",
}
"""Panels that stay empty for a run with scripted replies on a CPU."""
FIRST_QUERY_ONLY = {"Prefix-cache hits, by step", "Queues of the pipelines"}
"""Their other queries are about judges."""
GPUS = 'sum(ray_node_gpus_available{SessionName=~".*"})'


@dataclass
class Dashboards:
    """The running `make dashboards` command."""

    process: subprocess.Popen
    prometheus: str
    grafana: str
    ray: str

    def get(self, url: str) -> str:
        """Return the text at a URL."""
        with urllib.request.urlopen(url, timeout=30) as answer:
            return answer.read().decode()

    def query(self, expression: str) -> list:
        """Return the current series of an expression."""
        parameters = urllib.parse.urlencode({"query": expression})
        return json.loads(self.get(f"{self.prometheus}/api/v1/query?{parameters}"))["data"]["result"]

    def responds(self, url: str) -> bool:
        """Return whether a server responds."""
        try:
            return bool(self.get(url))
        except OSError:
            return False


@pytest.fixture
def dashboards(tmp_path: Path) -> Iterator[Dashboards]:
    """The dashboards for the Rays of a temporary folder of the test."""
    ray = tempfile.mkdtemp(prefix="rt", dir="/tmp")  # socket paths have room for about 100 characters
    ports = ray_head.free_port(), ray_head.free_port()
    command = [sys.executable, RESOURCES / "cluster/dashboards/show.py"]
    command += [f"--prometheus-port={ports[0]}", f"--grafana-port={ports[1]}"]
    log = tmp_path / "dashboards.log"
    process = subprocess.Popen(
        command, env=os.environ | {"RAY_TMPDIR": ray}, stdout=log.open("w"), stderr=subprocess.STDOUT
    )
    dashboards = Dashboards(process, *(f"http://127.0.0.1:{port}" for port in ports), ray)
    try:
        deadline = time.monotonic() + 120
        while "Press Ctrl-C to stop." not in log.read_text():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.2)
        yield dashboards
    finally:
        process.terminate()
        process.wait(60)
        shutil.rmtree(ray, ignore_errors=True)


def panel_queries() -> dict[tuple[str, int], str]:
    """Return the panels' queries that a run with scripted replies on a CPU can fill."""
    queries: dict[tuple[str, int], str] = {}
    for title, expression in console.expressions(DASHBOARD):
        number = sum(title == other for other, _ in queries)
        of_judges = number and title in FIRST_QUERY_ONLY
        of_gpus = title == "Cost per hour" and expression.endswith("* " + GPUS)
        if title not in NEEDS_MORE and not of_judges and not of_gpus:
            queries[title, number] = expression
    return queries


def test_run_fills_every_panel(dashboards: Dashboards, make_run: Callable) -> None:
    replies = [{"contains": "number 3", "reply": "no profile"}, {"contains": "number 4", "truncated": True}]
    run = make_run("watched", personas=256)  # 16 shards
    run.config["engine"] |= {"replies": replies, "delay_s": 6}
    run.environment = {"RAY_TMPDIR": dashboards.ray, "PYTHONPATH": str(RESOURCES)}
    process = run.start()
    open_queries = panel_queries()
    counted: dict[str, float] = {}
    while process.poll() is None:
        for place, expression in list(open_queries.items()):
            if dashboards.query(expression):
                del open_queries[place]
        rows = dashboards.query('sum by (status) (ray_factory_rows_total{step="profiles"})')
        counted |= {series["metric"]["status"]: float(series["value"][1]) for series in rows}
        time.sleep(2)
    assert process.returncode == 0, run.log()
    assert not open_queries, "no data for these"
    written = run.reasons("profiles")
    # Ray's agent collects values every 10 s, and ends with the run.
    assert 0 < counted["ok"] <= written["ok"]
    assert 0 < counted["rejected"] <= written["invalid_reply"] + written["truncated"]
    page = dashboards.get(f"{dashboards.prometheus}/consoles/factory.html")
    assert re.search(r'Rows accepted</h3><div class="figure">[\d.]+k?<', page)
    assert all(panel["title"] in page for panel in DASHBOARD["panels"])


def test_ctrl_c_stops_the_servers(dashboards: Dashboards) -> None:
    assert dashboards.responds(f"{dashboards.prometheus}/-/ready")
    dashboards.process.send_signal(signal.SIGINT)
    assert dashboards.process.wait(60) == 0
    assert not dashboards.responds(f"{dashboards.prometheus}/-/ready")


@pytest.mark.skipif(
    show._grafana(None) is None,
    reason="Grafana is not installed; Debian, PyPI and npm do not have its server",
)
def test_grafana_loads_the_dashboard(dashboards: Dashboards) -> None:
    loaded = json.loads(dashboards.get(f"{dashboards.grafana}/api/dashboards/uid/{DASHBOARD['uid']}"))
    assert loaded["meta"]["provisioned"]
    assert [panel["title"] for panel in loaded["dashboard"]["panels"]] == [one["title"] for one in DASHBOARD["panels"]]

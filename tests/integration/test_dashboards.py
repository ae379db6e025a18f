"""The dashboards over a real run: Prometheus scrapes it, and every panel's question has an answer."""

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
"""Panels that a run with scripted replies on a CPU leaves empty."""
FIRST_QUESTION_ONLY = {"Prefix-cache hits, by step", "Queues of the pipelines"}
"""Their other questions are about judges."""
GPUS = 'sum(ray_node_gpus_available{SessionName=~".*"})'


@dataclass
class Shown:
    """The dashboards' command as it runs."""

    process: subprocess.Popen
    prometheus: str
    grafana: str
    ray: str

    def get(self, url: str) -> str:
        """What a page says."""
        with urllib.request.urlopen(url, timeout=30) as answer:
            return answer.read().decode()

    def ask(self, expression: str) -> list:
        """The series that answer a question now."""
        query = urllib.parse.urlencode({"query": expression})
        return json.loads(self.get(f"{self.prometheus}/api/v1/query?{query}"))["data"]["result"]

    def answers(self, url: str) -> bool:
        """Whether a server is there."""
        try:
            return bool(self.get(url))
        except OSError:
            return False


@pytest.fixture
def shown(tmp_path: Path) -> Iterator[Shown]:
    """The dashboards, over Rays whose temporary folder is one of the test's own."""
    ray = tempfile.mkdtemp(prefix="rt", dir="/tmp")  # socket paths have room for about 100 characters
    ports = ray_head.free_port(), ray_head.free_port()
    command = [sys.executable, RESOURCES / "cluster/dashboards/show.py"]
    command += [f"--prometheus-port={ports[0]}", f"--grafana-port={ports[1]}"]
    log = tmp_path / "dashboards.log"
    process = subprocess.Popen(
        command, env=os.environ | {"RAY_TMPDIR": ray}, stdout=log.open("w"), stderr=subprocess.STDOUT
    )
    shown = Shown(process, *(f"http://127.0.0.1:{port}" for port in ports), ray)
    try:
        deadline = time.monotonic() + 120
        while "Ctrl-C ends it." not in log.read_text():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.2)
        yield shown
    finally:
        process.terminate()
        process.wait(60)
        shutil.rmtree(ray, ignore_errors=True)


def questions() -> dict[tuple[str, int], str]:
    """What the panels ask of a run with scripted replies on a CPU."""
    asked: dict[tuple[str, int], str] = {}
    for title, expression in console.expressions(DASHBOARD):
        number = sum(title == other for other, _ in asked)
        of_judges = number and title in FIRST_QUESTION_ONLY
        of_gpus = title == "Cost an hour" and expression.endswith("* " + GPUS)
        if title not in NEEDS_MORE and not of_judges and not of_gpus:
            asked[title, number] = expression
    return asked


def test_every_panel_is_filled_by_a_run(shown: Shown, make_run: Callable) -> None:
    replies = [{"contains": "number 3", "reply": "no profile"}, {"contains": "number 4", "truncated": True}]
    run = make_run("watched", personas=256)  # 16 shards
    run.config["engine"] |= {"replies": replies, "delay_s": 6}
    run.environment = {"RAY_TMPDIR": shown.ray, "PYTHONPATH": str(RESOURCES)}
    process = run.start()
    open_questions = questions()
    counted: dict[str, float] = {}
    while process.poll() is None:
        for place, expression in list(open_questions.items()):
            if shown.ask(expression):
                del open_questions[place]
        rows = shown.ask('sum by (status) (ray_factory_rows_total{step="profiles"})')
        counted |= {series["metric"]["status"]: float(series["value"][1]) for series in rows}
        time.sleep(2)
    assert process.returncode == 0, run.log()
    assert not open_questions, "no answer to these"
    there = run.reasons("profiles")
    # Ray's agent takes values in every 10 s, and ends with the run.
    assert 0 < counted["ok"] <= there["ok"]
    assert 0 < counted["rejected"] <= there["invalid_reply"] + there["truncated"]
    page = shown.get(f"{shown.prometheus}/consoles/factory.html")
    assert re.search(r'Rows accepted</h3><div class="figure">[\d.]+k?<', page)
    assert all(panel["title"] in page for panel in DASHBOARD["panels"])


def test_ctrl_c_ends_what_was_started(shown: Shown) -> None:
    assert shown.answers(f"{shown.prometheus}/-/ready")
    shown.process.send_signal(signal.SIGINT)
    assert shown.process.wait(60) == 0
    assert not shown.answers(f"{shown.prometheus}/-/ready")


@pytest.mark.skipif(
    show._grafana(None) is None,
    reason="Grafana is not installed; neither Debian nor PyPI nor npm has its server",
)
def test_grafana_loads_the_dashboard(shown: Shown) -> None:
    loaded = json.loads(shown.get(f"{shown.grafana}/api/dashboards/uid/{DASHBOARD['uid']}"))
    assert loaded["meta"]["provisioned"]
    assert [panel["title"] for panel in loaded["dashboard"]["panels"]] == [one["title"] for one in DASHBOARD["panels"]]

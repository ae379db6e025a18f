"""The dashboard file, Prometheus's console page for it, and the command that shows them."""

import importlib.util
import json
import re
import shutil
import subprocess
import sys
from argparse import Namespace
from pathlib import Path

import pytest
import yaml

from cluster.dashboards import console, show
from factory.resources import RESOURCES
from factory.runtime import metrics

FOLDER = RESOURCES / "cluster" / "dashboards"
DASHBOARD = json.loads((FOLDER / "factory.json").read_text())
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
FACTORY = {metric.exported: metric for metric in metrics.METRICS}
RAY = {
    "ray_cluster_active_nodes": "dashboard/modules/reporter/reporter_agent.py",
    "ray_data_operator_queued_blocks": "data/_internal/stats.py",
    "ray_node_cpu_count": "dashboard/modules/reporter/reporter_agent.py",
    "ray_node_cpu_utilization": "dashboard/modules/reporter/reporter_agent.py",
    "ray_node_gpus_available": "dashboard/modules/reporter/reporter_agent.py",
    "ray_node_gpus_utilization": "dashboard/modules/reporter/reporter_agent.py",
    "ray_node_gram_available": "dashboard/modules/reporter/reporter_agent.py",
    "ray_node_gram_used": "dashboard/modules/reporter/reporter_agent.py",
    "ray_node_mem_total": "dashboard/modules/reporter/reporter_agent.py",
    "ray_node_mem_used": "dashboard/modules/reporter/reporter_agent.py",
    "ray_object_store_memory": "dashboard/modules/metrics/dashboards/default_dashboard_panels.py",
    "ray_serve_deployment_queued_queries": "serve/_private/router.py",
}
"""Metrics exported by Ray, and the source files that define them."""
VLLM = {
    "ray_vllm_kv_cache_usage_perc",
    "ray_vllm_num_requests_running",
    "ray_vllm_num_requests_waiting",
    "ray_vllm_prefix_cache_hits_total",
    "ray_vllm_prefix_cache_queries_total",
}
"""Metrics exported by vLLM through Ray, for judges on GPUs."""


def all_queries() -> str:
    return "\n".join(expression for _, expression in console.expressions(DASHBOARD))


def installed(package: str) -> Path:
    found = importlib.util.find_spec(package)
    assert found
    assert found.origin
    return Path(found.origin).parent


def test_panels_use_only_exported_metrics():
    named = set(re.findall(r"\bray_\w+", all_queries()))
    assert named == FACTORY.keys() | RAY.keys() | VLLM


def test_ray_and_vllm_still_export_these_metrics():
    for name, file in RAY.items():
        assert name.removeprefix("ray_") in (installed("ray") / file).read_text(), name
    own = (installed("vllm") / "v1/metrics/loggers.py").read_text()
    for name in VLLM:
        assert f'"{name.removeprefix("ray_vllm_").removesuffix("_total")}' in own.replace("vllm:", ""), name


def test_factory_metrics_are_queried_by_their_labels():
    for name, within in re.findall(r"(ray_factory_\w+)\{([^}]*)\}", all_queries()):
        labels = set(re.findall(r"(\w+)=", within)) - {"SessionName"}
        assert labels <= set(FACTORY[name].labels), within
    for legend, expression in [
        (target["legendFormat"], target["expr"]) for panel in PANELS for target in panel["targets"]
    ]:
        kept = set(re.findall(r"\w+", " ".join(re.findall(r" by \(([^)]*)\)", expression))))
        assert set(re.findall(r"\{\{(\w+)\}\}", legend)) <= kept, legend


def test_panels_are_unique_described_and_in_the_grid():
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids)
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        taken |= cells
    assert all(panel["title"] and panel["description"] for panel in PANELS)
    assert all(panel["datasource"]["uid"] == "${datasource}" for panel in PANELS)


def test_all_dashboard_variables_are_defined():
    defined = {variable["name"] for variable in DASHBOARD["templating"]["list"]}
    used = set(re.findall(r"\$\{?(\w+)", json.dumps(PANELS)))
    assert used - {"__range", "__rate_interval"} == defined
    assert "$" not in all_queries()


def test_no_file_names_a_machine():
    for path in FOLDER.rglob("*.*"):
        if path.suffix in (".json", ".yaml"):
            text = path.read_text().replace("/tmp/ray/session_latest", "")
            assert not re.search(r"/(home|root|tmp|work|usr|opt)/|localhost|\d+\.\d+\.\d+\.\d+", text), path


def test_grafana_schema_has_every_field():
    """Decoding and encoding with the types generated from Grafana's schema loses unknown fields."""
    pytest.importorskip("grafana_foundation_sdk", reason="not installed: make setup installs grafana-foundation-sdk")
    from grafana_foundation_sdk.cog.encoder import JSONEncoder
    from grafana_foundation_sdk.cog.plugins import register_default_plugins
    from grafana_foundation_sdk.models.dashboard import Dashboard

    register_default_plugins()
    again = json.loads(JSONEncoder().encode(Dashboard.from_json(DASHBOARD)))
    assert list(lost(DASHBOARD, again)) == []


def lost(before, after, place=""):
    """Yield the paths at which the second document differs from the first."""
    if isinstance(before, dict) and isinstance(after, dict):
        for name, value in before.items():
            yield from lost(value, after.get(name, "nothing"), f"{place}/{name}")
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for number, pair in enumerate(zip(before, after, strict=True)):
            yield from lost(*pair, f"{place}/{number}")
    elif before != after:
        yield place


def test_console_page_has_every_panel():
    page = console.build_page(DASHBOARD)
    for panel in PANELS:
        assert f"<h3>{panel['title']}</h3>" in page
    actions = re.findall(r"\{\{ (.*?) \}\}", page, re.DOTALL)
    assert len(actions) == page.count("{{")
    assert all(re.match(r"pathPrefix|with query `|\. \| first|else|end", action) for action in actions)


@pytest.mark.skipif(not shutil.which("promtool"), reason="promtool is not installed: apt-get install prometheus")
def test_promtool_accepts_expressions_and_config(tmp_path):
    rules = [{"record": f"panel:{n}", "expr": one} for n, (_, one) in enumerate(console.expressions(DASHBOARD))]
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    for command in (["rules", tmp_path / "rules.yaml"], ["config", FOLDER / "prometheus.yaml"]):
        done = subprocess.run(["promtool", "check", *command], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_named_ray_is_scraped(monkeypatch, tmp_path):
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "token"))
    (local,) = show.scrape_config(Namespace(ray="/somewhere/ray", address=None))["scrape_configs"]
    assert local["file_sd_configs"][0]["files"] == [f"/somewhere/ray/{show.SERVICE_DISCOVERY}"]
    (remote,) = show.scrape_config(Namespace(ray="/tmp/ray", address="http://head:8265/"))["scrape_configs"]
    assert remote["http_sd_configs"] == [{"url": "http://head:8265/api/prometheus/sd", "refresh_interval": "15s"}]
    assert "file_sd_configs" not in remote
    (tmp_path / "token").write_text("secret")
    (remote,) = show.scrape_config(Namespace(ray="/tmp/ray", address="http://head:8265"))["scrape_configs"]
    (found,) = remote["http_sd_configs"]
    assert found["authorization"] == {"credentials_file": str(tmp_path / "token")}, "the file's name, not what it holds"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--prometheus", "no-such-program"],
            "no-such-program: program not found; install it as root with `apt-get install",
        ),
        (["--prometheus", sys.executable, "--grafana", "/nowhere"], "--grafana /nowhere: contains no bin/grafana"),
    ],
)
def test_missing_program_is_one_line(arguments, message):
    command = [sys.executable, FOLDER / "show.py", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {message}")
    assert done.stderr.count("\n") == 1

"""Run Prometheus and Grafana on this machine, for the local Ray or a cluster, until Ctrl-C.

Both listen on loopback only and store their data in a temporary folder. Without Grafana, Prometheus's
own console shows the same panels.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from cluster.dashboards.console import build_page
from factory.cli import exit_with_error_line
from factory.errors import ConfigError, FactoryError

HERE = Path(__file__).resolve().parent
SERVICE_DISCOVERY = "session_latest/prom_metrics_service_discovery.json"
Server = tuple[list[str], dict[str, str], str]
"""A command, additional environment variables, and a URL that responds once the server is up."""
START_TIMEOUT_S = 60
STOP_TIMEOUT_S = 10


def main() -> None:
    """Start both servers, print their URLs, and wait."""
    arguments = _arguments()
    prometheus = _program("prometheus", arguments.prometheus)
    grafana = _grafana(arguments.grafana)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: sys.exit(0))
    with tempfile.TemporaryDirectory(prefix="factory-dashboards-") as name:
        folder = Path(name)
        source = f"http://127.0.0.1:{arguments.prometheus_port}"
        servers: dict[str, Server] = {
            "prometheus": (_prometheus_command(prometheus, folder, arguments), {}, f"{source}/-/ready")
        }
        if grafana:
            command, settings = _grafana_command(*grafana, folder, arguments, source)
            servers["grafana"] = (command, settings, f"http://127.0.0.1:{arguments.grafana_port}/api/health")
        with _running(servers, folder) as processes:
            _print_urls(arguments, source, bool(grafana))
            while all(process.poll() is None for process in processes):
                time.sleep(0.5)
            raise FactoryError(f"a server stopped unexpectedly:\n{_last_line(folder)}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prometheus-port", type=int, default=9090)
    parser.add_argument("--grafana-port", type=int, default=3000)
    parser.add_argument("--ray", default=os.environ.get("RAY_TMPDIR", "/tmp") + "/ray", help="Ray's temporary folder")
    parser.add_argument("--address", help="a cluster whose network this machine can reach: http://HEAD:8265")
    parser.add_argument("--prometheus", help="path of the program, if it is not on the PATH")
    parser.add_argument("--grafana", help="Grafana's folder (with bin/ and conf/), if it is not in its usual place")
    return parser.parse_args()


def _program(name: str, given: str | None) -> str:
    if found := shutil.which(given or name):
        return found
    raise ConfigError(
        f"{given or name}: program not found; install it as root with `apt-get install --no-install-recommends {name}`"
    )


def _grafana(given: str | None) -> tuple[str, Path] | None:
    """Return Grafana's program and home folder, or None if it is not installed."""
    homes = [Path(given)] if given else [Path("/usr/share/grafana"), Path("/opt/grafana")]
    for home in homes:
        program = home / "bin" / "grafana"
        found = str(program) if program.is_file() else shutil.which("grafana")
        if found and (home / "conf" / "defaults.ini").is_file():
            return found, home
    if given:
        raise ConfigError(
            f"--grafana {given}: contains no bin/grafana and conf/defaults.ini; use Grafana's home folder"
        )
    return None


def scrape_config(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the configuration in `prometheus.yaml` with the given Ray as its target."""
    config: dict[str, Any] = yaml.safe_load((HERE / "prometheus.yaml").read_text())
    (job,) = config["scrape_configs"]
    (files,) = job["file_sd_configs"]
    files["files"] = [str(Path(arguments.ray) / SERVICE_DISCOVERY)]
    if arguments.address:
        del job["file_sd_configs"]
        url = f"{arguments.address.rstrip('/')}/api/prometheus/sd"
        job["http_sd_configs"] = [{"url": url, "refresh_interval": "15s", **_authorization()}]
    return config


def _authorization() -> dict[str, Any]:
    token = Path(os.environ.get("RAY_AUTH_TOKEN_PATH", "~/.ray/auth_token")).expanduser()
    return {"authorization": {"credentials_file": str(token)}} if token.is_file() else {}


def _prometheus_command(program: str, folder: Path, arguments: argparse.Namespace) -> list[str]:
    (folder / "prometheus.yaml").write_text(yaml.safe_dump(scrape_config(arguments)))
    console = folder / "consoles"
    console.mkdir()
    (console / "factory.html").write_text(build_page(json.loads((HERE / "factory.json").read_text())))
    return [
        program,
        f"--config.file={folder / 'prometheus.yaml'}",
        f"--storage.tsdb.path={folder / 'prometheus'}",
        f"--web.listen-address=127.0.0.1:{arguments.prometheus_port}",
        rf"--web.cors.origin=http://127\.0\.0\.1:{arguments.prometheus_port}",  # the default allows pages of any site
        f"--web.console.templates={console}",
        f"--web.console.libraries={console}",
        "--log.level=warn",
    ]


def _grafana_command(
    program: str, home: Path, folder: Path, arguments: argparse.Namespace, source: str
) -> tuple[list[str], dict[str, str]]:
    settings = {
        "GF_SERVER_HTTP_ADDR": "127.0.0.1",
        "GF_SERVER_HTTP_PORT": str(arguments.grafana_port),
        "GF_PATHS_DATA": str(folder / "grafana"),
        "GF_PATHS_LOGS": str(folder / "grafana"),
        "GF_PATHS_PLUGINS": str(folder / "grafana" / "plugins"),
        "GF_PATHS_PROVISIONING": str(HERE / "provisioning"),
        "GF_AUTH_ANONYMOUS_ENABLED": "true",  # on loopback, where Prometheus shows the same figures without a login
        "GF_AUTH_ANONYMOUS_ORG_ROLE": "Viewer",
        "GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH": str(HERE / "factory.json"),
        "GF_ANALYTICS_REPORTING_ENABLED": "false",
        "GF_ANALYTICS_CHECK_FOR_UPDATES": "false",
        "GF_ANALYTICS_CHECK_FOR_PLUGIN_UPDATES": "false",
        "GF_PLUGINS_PREINSTALL_DISABLED": "true",
        "GF_LOG_LEVEL": "warn",
        "PROMETHEUS_URL": source,
        "FACTORY_DASHBOARDS": str(HERE),
    }
    return [program, "server", "--homepath", str(home)], settings


@contextmanager
def _running(servers: dict[str, Server], folder: Path) -> Iterator[list["subprocess.Popen[bytes]"]]:
    """Start servers and wait until they respond; stop them at the end of the block."""
    processes: list[subprocess.Popen[bytes]] = []
    try:
        for name, (command, settings, url) in servers.items():
            with (folder / f"{name}.log").open("wb") as log:
                environment = os.environ | settings
                process = subprocess.Popen(command, env=environment, cwd=folder, stdout=log, stderr=subprocess.STDOUT)
            processes.append(process)
            _wait_until_ready(name, process, url, folder)
        yield processes
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            try:
                process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()


def _wait_until_ready(name: str, process: "subprocess.Popen[bytes]", url: str, folder: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while process.poll() is None and time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(url, timeout=2) as answer:
                if answer.status == 200:
                    return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    raise ConfigError(
        f"{name}: does not start at {url} ({_last_line(folder)}); if the port is taken, "
        f"use another one: {name.upper()}_PORT=..."
    )


def _last_line(folder: Path) -> str:
    lines = [line for log in sorted(folder.glob("*.log")) for line in log.read_text(errors="replace").splitlines()]
    return lines[-1] if lines else "no output"


def _print_urls(arguments: argparse.Namespace, source: str, grafana: bool) -> None:
    dashboard = f"http://127.0.0.1:{arguments.grafana_port}/" if grafana else f"{source}/consoles/factory.html"
    print(f"Dashboard:  {dashboard}")
    if not grafana:
        print("            (Grafana was not found, so this is a page of Prometheus with the same panels;")
        print("            set GRAFANA=FOLDER to use Grafana, see cluster/dashboards/README.md)")
    print(f"Prometheus: {source}/classic/targets")
    print(f"Scraped:    {arguments.address or Path(arguments.ray) / SERVICE_DISCOVERY}")
    print("Press Ctrl-C to stop.", flush=True)


if __name__ == "__main__":
    exit_with_error_line(main)

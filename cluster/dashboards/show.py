"""Prometheus and Grafana on this machine, over the Ray that runs here or over a cluster, until Ctrl-C.

Both listen on loopback alone and keep what they take in in a temporary folder. Where there is no
Grafana, Prometheus's own console shows the same panels.
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

HERE = Path(__file__).resolve().parent

from cluster.dashboards.console import page  # noqa: E402
from factory.cli import exit_with_error_line  # noqa: E402
from factory.errors import ConfigError, FactoryError  # noqa: E402

SERVICE_DISCOVERY = "session_latest/prom_metrics_service_discovery.json"
Server = tuple[list[str], dict[str, str], str]
"""A command, its environment's own part, and a page that answers once it is up."""
READY_S = 60
END_S = 10


def main() -> None:
    """Start both, say where to look, and wait."""
    arguments = _arguments()
    prometheus = _program("prometheus", arguments.prometheus)
    grafana = _grafana(arguments.grafana)
    for one in (signal.SIGINT, signal.SIGTERM):
        signal.signal(one, _end)
    with tempfile.TemporaryDirectory(prefix="factory-dashboards-") as folder:
        place = Path(folder)
        source = f"http://127.0.0.1:{arguments.prometheus_port}"
        servers: dict[str, Server] = {
            "prometheus": (_prometheus(prometheus, place, arguments), {}, f"{source}/-/ready")
        }
        if grafana:
            command, settings = _grafana_command(*grafana, place, arguments, source)
            servers["grafana"] = (command, settings, f"http://127.0.0.1:{arguments.grafana_port}/api/health")
        with _running(servers, place) as processes:
            _say(arguments, source, bool(grafana))
            while all(process.poll() is None for process in processes):
                time.sleep(0.5)
            raise FactoryError(f"a server ended by itself:\n{_last_lines(place)}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prometheus-port", type=int, default=9090)
    parser.add_argument("--grafana-port", type=int, default=3000)
    parser.add_argument("--ray", default=os.environ.get("RAY_TMPDIR", "/tmp") + "/ray", help="Ray's temporary folder")
    parser.add_argument("--address", help="a cluster in whose network this machine is: http://HEAD:8265")
    parser.add_argument("--prometheus", help="the program, where it is not on the PATH")
    parser.add_argument("--grafana", help="Grafana's folder (with bin/ and conf/), where it is not in its usual place")
    return parser.parse_args()


def _program(name: str, given: str | None) -> str:
    if found := shutil.which(given or name):
        return found
    raise ConfigError(
        f"{given or name}: there is no such program here; `apt-get install --no-install-recommends {name}` "
        "brings Debian's, as root"
    )


def _grafana(given: str | None) -> tuple[str, Path] | None:
    """Grafana's program and its home, or None where it is not installed."""
    homes = [Path(given)] if given else [Path("/usr/share/grafana"), Path("/opt/grafana")]
    for home in homes:
        program = home / "bin" / "grafana"
        found = str(program) if program.is_file() else shutil.which("grafana")
        if found and (home / "conf" / "defaults.ini").is_file():
            return found, home
    if given:
        raise ConfigError(f"--grafana {given}: has no bin/grafana and conf/defaults.ini; name Grafana's own folder")
    return None


def scrape_config(arguments: argparse.Namespace) -> dict[str, Any]:
    """The configuration of `prometheus.yaml`, for the Ray that was named."""
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


def _prometheus(program: str, place: Path, arguments: argparse.Namespace) -> list[str]:
    (place / "prometheus.yaml").write_text(yaml.safe_dump(scrape_config(arguments)))
    console = place / "consoles"
    console.mkdir()
    (console / "factory.html").write_text(page(json.loads((HERE / "factory.json").read_text())))
    return [
        program,
        f"--config.file={place / 'prometheus.yaml'}",
        f"--storage.tsdb.path={place / 'prometheus'}",
        f"--web.listen-address=127.0.0.1:{arguments.prometheus_port}",
        rf"--web.cors.origin=http://127\.0\.0\.1:{arguments.prometheus_port}",  # by default pages of any site
        f"--web.console.templates={console}",
        f"--web.console.libraries={console}",
        "--log.level=warn",
    ]


def _grafana_command(
    program: str, home: Path, place: Path, arguments: argparse.Namespace, source: str
) -> tuple[list[str], dict[str, str]]:
    settings = {
        "GF_SERVER_HTTP_ADDR": "127.0.0.1",
        "GF_SERVER_HTTP_PORT": str(arguments.grafana_port),
        "GF_PATHS_DATA": str(place / "grafana"),
        "GF_PATHS_LOGS": str(place / "grafana"),
        "GF_PATHS_PLUGINS": str(place / "grafana" / "plugins"),
        "GF_PATHS_PROVISIONING": str(HERE / "provisioning"),
        "GF_AUTH_ANONYMOUS_ENABLED": "true",  # on loopback, over figures that Prometheus shows to anyone there
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
def _running(servers: dict[str, Server], place: Path) -> Iterator[list["subprocess.Popen[bytes]"]]:
    """Start servers and wait until they answer; in the end, end them and no others."""
    processes: list[subprocess.Popen[bytes]] = []
    try:
        for name, (command, settings, url) in servers.items():
            with (place / f"{name}.log").open("wb") as log:
                environment = os.environ | settings
                process = subprocess.Popen(command, env=environment, cwd=place, stdout=log, stderr=subprocess.STDOUT)
            processes.append(process)
            _wait(name, process, url, place)
        yield processes
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            try:
                process.wait(END_S)
            except subprocess.TimeoutExpired:
                process.kill()


def _wait(name: str, process: "subprocess.Popen[bytes]", url: str, place: Path) -> None:
    deadline = time.monotonic() + READY_S
    while process.poll() is None and time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(url, timeout=2) as answer:
                if answer.status == 200:
                    return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    raise ConfigError(
        f"{name}: does not come up at {url} ({_last_lines(place)}); is the port taken? "
        f"give another, {name.upper()}_PORT=..."
    )


def _last_lines(place: Path) -> str:
    said = [line for log in sorted(place.glob("*.log")) for line in log.read_text(errors="replace").splitlines()]
    return said[-1] if said else "it said nothing"


def _say(arguments: argparse.Namespace, source: str, grafana: bool) -> None:
    shown = f"http://127.0.0.1:{arguments.grafana_port}/" if grafana else f"{source}/consoles/factory.html"
    print(f"Dashboard:  {shown}")
    if not grafana:
        print("            (Grafana is not installed here: Prometheus's own page shows the same panels;")
        print("            GRAFANA=FOLDER names one, see cluster/dashboards/README.md)")
    print(f"Prometheus: {source}/classic/targets")
    print(f"Scraped:    {arguments.address or Path(arguments.ray) / SERVICE_DISCOVERY}")
    print("Ctrl-C ends it.", flush=True)


def _end(*_: Any) -> None:
    sys.exit(0)


if __name__ == "__main__":
    exit_with_error_line(main)

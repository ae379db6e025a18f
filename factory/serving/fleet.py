"""The fleet: one Ray Serve LLM deployment per model, behind one OpenAI-compatible endpoint.

    clients ──HTTP──► ingress (key) ──prefix-aware router, bounded queue──► replicas of each model

It starts for a run and ends after it; one that is up already (`make judges-up`) is used and left up.
Another run's fleet is not used: it ends with that run. On a cluster a fleet outlives the driver
of a run that is killed: the next run takes it over. A model's name for HTTP clients carries a hash of
its revision and settings, so that a fleet with other settings is never mistaken for this one.
"""

import http.client
import json
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any
from urllib.parse import urlsplit

import ray

from factory.config import LOOPBACK, Fleet, ServedModel
from factory.errors import ConfigError, ModelError
from factory.inference.engines.vllm_settings import node_labels
from factory.runtime.capacity import IO_TASK, Bundle, check_capacity
from factory.runtime.progress import Progress
from factory.runtime.ray_head import free_port
from factory.runtime.ray_session import driver_node_options, on_gpu
from factory.serving.deployment import (
    INGRESS_CPUS,
    NO_ACCESS_LOG,
    api_key_of,
    application,
    deployment_name,
    ingresses,
    wire_name,
    workers,
)
from factory.serving.prefix_trees import start_prefix_trees

APP = "judges"
RUNS_APP = "judges-of-a-run"
"""The Serve application of a fleet that is a run's own."""
OWNER = {"name": "owner-of-the-judges", "namespace": "character-factory"}
EVERYWHERE = ("0.0.0.0", "::")
"""Hosts that mean every interface, so that no client can use them as an address."""


def check_fleet(fleet: Fleet, place: str = "evaluation.fleet") -> None:
    """Check that a fleet that others can reach has a key; `place` is the fleet's in the config.

    Raises:
        ConfigError: it has none.
    """
    if api_key_of(fleet):
        return
    if fleet.host not in LOOPBACK:
        raise ConfigError(
            f"{place}.host is {fleet.host!r}, which others can reach, and ${fleet.api_key_env} holds no key; "
            "export one, or take 127.0.0.1"
        )
    if fleet.allowed_hosts:
        raise ConfigError(
            f"{place}.allowed_hosts has {fleet.allowed_hosts[0]!r}, under which others can reach it, and "
            f"${fleet.api_key_env} holds no key; export one, or leave it out"
        )


def cpus_of(fleet: Fleet, judges: Sequence[ServedModel]) -> float:
    """Return the CPUs that Ray needs for ingresses, and for models on CPUs: one per worker of a replica."""
    on_cpus = [judge.replicas[1] * workers(judge) for judge in judges if not on_gpu(judge.device)]
    return sum(on_cpus) + INGRESS_CPUS * ingresses(fleet, judges) if judges else 0


def _replica(judge: ServedModel) -> Bundle:
    return Bundle({"GPU" if on_gpu(judge.device) else "CPU": workers(judge)}, node_labels(judge))


@contextmanager
def fleet_for_run(fleet: Fleet, judges: Sequence[ServedModel], progress: Progress) -> Iterator[str]:
    """Yield the base URL of a fleet with these models, which is up as long as the block runs.

    Raises:
        ConfigError: another server or another run has the port or the cluster's Serve, or the cluster cannot hold the
            judges.
        ModelError: a judge does not start.
    """
    if not judges:
        yield ""
        return
    check_fleet(fleet)
    left = _left_behind(fleet, judges)
    if left is None and (url := running(fleet, judges)):
        progress.print(f"judges: using the fleet at {url}")
        yield url
        return
    owner = _own(fleet)
    if left:
        progress.print(f"judges: using the fleet that a killed run left at {left}")
    url = left or bring_up(fleet, judges, progress, RUNS_APP)
    try:
        yield url
    finally:
        take_down(RUNS_APP)
        ray.kill(owner)


def is_abandoned() -> bool:
    """Return whether this cluster has the fleet of a run that was killed, or only its endpoint."""
    from ray import serve

    there = serve.status()
    nothing_served = there.proxies and not there.applications
    if RUNS_APP not in there.applications and not nothing_served:
        return False
    try:
        ray.get_actor(**OWNER)
    except ValueError:
        return True
    return False


def _left_behind(fleet: Fleet, judges: Sequence[ServedModel]) -> str | None:
    """Return the URL of a fleet that a killed run left; take down one that cannot be used."""
    if not is_abandoned():
        return None
    with suppress(ConfigError):
        if url := running(fleet, judges, left_behind=True):
            return url
    take_down(RUNS_APP)
    return None


class _Owner:
    """An actor that ends with its run's driver, however that ends."""


def _own(fleet: Fleet) -> Any:
    """Claim this cluster's Serve for the current run: two fleets would share one endpoint.

    Raises:
        ConfigError: another run is.
    """
    try:
        return ray.remote(_Owner).options(**OWNER, **driver_node_options()).remote()
    except ValueError:
        raise ConfigError(
            f"evaluation.fleet.port {fleet.port}: another run's fleet is up on this cluster, and ends with that "
            "run; wait for it (runs share one that `make judges-up` leaves)"
        ) from None


def running(fleet: Fleet, judges: Sequence[ServedModel], left_behind: bool = False) -> str | None:
    """Return the base URL of a fleet that is up and has these models, or None if nothing listens.

    Args:
        fleet: where it would listen.
        judges: the models that it must have.
        left_behind: whether it may be another run's, because that run is gone.

    Raises:
        ConfigError: something else listens there, or another run's fleet.
    """
    if not fleet.port:
        return None
    url = _url(fleet.host, fleet.port)
    request = urllib.request.Request(f"{url}/models", headers={"Authorization": f"Bearer {api_key_of(fleet)}"})
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            there = {str(model["id"]): model.get("owned_by") for model in json.load(answer)["data"]}
    except urllib.error.HTTPError as problem:
        raise ConfigError(f"evaluation.fleet.port {fleet.port}: what listens there says {problem}; {_OTHER}") from None
    except urllib.error.URLError:
        return None
    except (OSError, http.client.HTTPException, ValueError, LookupError, TypeError):
        raise ConfigError(f"evaluation.fleet.port {fleet.port}: what listens there is no fleet; {_OTHER}") from None
    if RUNS_APP in there.values() and not left_behind:
        raise ConfigError(
            f"evaluation.fleet.port {fleet.port}: another run's fleet listens there, and goes away with that run; "
            "wait for its end, or take another port (`make judges-down` ends what a killed run left on a cluster)"
        )
    missing = [judge.name for judge in judges if wire_name(judge) not in there]
    if missing:
        raise ConfigError(
            f"evaluation.fleet.port {fleet.port}: the fleet there has no {missing[0]!r} with this config's model and "
            f"settings (it has {', '.join(sorted(there))}); {_OTHER}"
        )
    return url


_OTHER = "take another port, or `make judges-down` first"


def bring_up(
    fleet: Fleet, judges: Sequence[ServedModel], progress: Progress, app: str = APP, place: str = "evaluation.judges"
) -> str:
    """Deploy the judges on the Ray that this process is joined to, and return their base URL.

    Args:
        fleet: where they listen.
        judges: which they are.
        progress: reports that they start.
        app: the Serve application that they become.
        place: their key in the config.

    Raises:
        ConfigError: the cluster can never hold them, or serves something already.
        ModelError: one does not start, or not in time.
    """
    check_serve_is_free()
    fewest = [_replica(judge) for judge in judges for _ in range(judge.replicas[0])]
    entries = [Bundle({"CPU": INGRESS_CPUS})] * ingresses(fleet, judges)
    check_capacity([*fewest, *entries, IO_TASK], f"{place}.replicas")
    port = fleet.port or free_port(fleet.host)
    progress.print(f"{place}: starting {', '.join(judge.name for judge in judges)}")
    from ray import serve

    # A proxy listens on its own node: on loopback, only the one of the driver and its clients can be reached.
    location = "EveryNode" if fleet.host in EVERYWHERE else "HeadOnly"
    options = {"host": fleet.host, "port": port, "location": location}
    serve.start(http_options=options, logging_config=NO_ACCESS_LOG)
    failure: list[BaseException] = []

    def deploy() -> None:
        try:
            start_prefix_trees(app, [deployment_name(judge) for judge in judges])
            serve.run(application(fleet, judges, app), name=app, route_prefix="/")
        except BaseException as problem:
            failure.append(problem)

    starting = threading.Thread(target=deploy, daemon=True)
    starting.start()
    starting.join(fleet.start_timeout_s)
    if starting.is_alive() or failure:
        said = _last_line(failure[0]) if failure else f"not up after {fleet.start_timeout_s:g} s"
        take_down(app)
        raise ModelError(f"{place}: cannot start: {said}; --verbose shows all that they said")
    return _url(fleet.host, port)


def check_serve_is_free() -> None:
    """Check that Serve runs nothing on the Ray that this process is joined to.

    It has one endpoint, which keeps the host and port that it was started with.

    Raises:
        ConfigError: it does.
    """
    from ray import serve

    if others := sorted(serve.status().applications):
        raise ConfigError(
            f"RAY_ADDRESS: Serve runs {', '.join(others)} there already; end it (judges: `make judges-down`), or unset "
            "RAY_ADDRESS"
        )


def take_down(*apps: str) -> None:
    """Remove Serve applications (by default the judges), and Serve with them where nothing else is on it."""
    from ray import serve

    own = set(apps or (APP,))
    there = set(serve.status().applications)
    if there <= own:
        serve.shutdown()
        return
    for app in sorted(there & own):
        serve.delete(app)


def other_proxies(fleet: Fleet, url: str) -> tuple[str, ...]:
    """Return the URLs of the other nodes' proxies of a fleet that is reached at `url`, on this process's Ray."""
    if fleet.host not in EVERYWHERE or not ray.is_initialized():
        return ()
    from ray import serve

    healthy = {node for node, state in serve.status().proxies.items() if state == "HEALTHY"}
    own = urlsplit(url)
    hosts = {node["NodeManagerAddress"] for node in ray.nodes() if node["NodeID"] in healthy} - {own.hostname}
    return tuple(_address(host, own.port or 80) for host in sorted(hosts))


def fleet_key_env(fleet: Fleet) -> str | None:
    """Return the environment variable with the fleet's key; None if it has none."""
    return fleet.api_key_env if api_key_of(fleet) else None


def _url(host: str, port: int) -> str:
    reached = host
    if host in EVERYWHERE:
        reached = ray.util.get_node_ip_address() if ray.is_initialized() else "127.0.0.1"
    return _address(reached, port)


def _address(host: str, port: int) -> str:
    return f"http://[{host}]:{port}/v1" if ":" in host else f"http://{host}:{port}/v1"


def _last_line(problem: BaseException) -> str:
    lines = [line.strip() for line in str(problem).splitlines() if line.strip()]
    return lines[-1][:500] if lines else type(problem).__name__

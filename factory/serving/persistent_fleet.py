"""A fleet that stays up between runs: `make judges-up`, `make judges-down`.

On a cluster (RAY_ADDRESS) the judges are deployed there. Elsewhere a Ray head of their own is
started on this machine, and a note of its process is kept in the cache folder, so that it and
nothing else is ended again.
"""

import atexit
import os

from factory.config import RunConfig
from factory.errors import ConfigError
from factory.inference.locate import locate_served
from factory.runtime import ray_head
from factory.runtime.progress import Progress
from factory.serving.fleet import APP, RUNS_APP, bring_up, check_fleet, cpus_of, is_abandoned, running, take_down

NOTE = "judges"
SPARE_CPUS = 2


def check(config: RunConfig) -> None:
    """Check judges and port, and start a head for them if no cluster is named.

    Raises:
        ConfigError: there is no judge to serve, or a fleet runs already.
        ModelError: a model cannot be had.
    """
    judges = config.evaluation.fleet_judges
    if not judges:
        raise ConfigError("evaluation.judges: none of kind served; give one, such as {name: a, model: ...}")
    fleet = config.evaluation.fleet
    if not fleet.port:
        raise ConfigError("evaluation.fleet.port is 0; a fleet that stays needs a port that others know")
    for judge in judges:
        locate_served(judge.model, judge.engine_kwargs, judge.chat_template_kwargs)
    check_fleet(fleet)
    if url := running(fleet, judges):
        raise ConfigError(f"evaluation.fleet: these judges are up already at {url}")
    if not os.environ.get("RAY_ADDRESS"):
        os.environ["RAY_ADDRESS"] = _start_head(SPARE_CPUS + int(cpus_of(fleet, judges)))


def plan(config: RunConfig, progress: Progress) -> None:
    """Report which models would be deployed.

    Raises:
        UserError: a model cannot be had.
    """
    check_fleet(config.evaluation.fleet)
    for judge in config.evaluation.fleet_judges:
        located = locate_served(judge.model, judge.engine_kwargs, judge.chat_template_kwargs)
        progress.print(f"{judge.name}: {located.ref} (revision {located.revision}), replicas {list(judge.replicas)}")


def deploy_persistent(config: RunConfig, progress: Progress) -> None:
    """Deploy the judges and report their URL."""
    url = bring_up(config.evaluation.fleet, config.evaluation.fleet_judges, progress)
    atexit.unregister(ray_head.end)
    progress.print(f"judges: up at {url}; `make judges-down` ends them")


def bring_down() -> str:
    """End the persistent fleet, and one that a killed run left; return what was ended.

    Raises:
        ConfigError: there is none.
    """
    if own := ray_head.find_running(NOTE):
        ray_head.end(own)
        ray_head.delete_record(NOTE)
        return f"judges: ended, with the Ray head at {own.address}"
    if not os.environ.get("RAY_ADDRESS"):
        raise ConfigError("judges: none was started from here; name their cluster in RAY_ADDRESS")
    from ray import serve

    from factory.runtime import ray_session

    ray_session.start_ray()
    found = [APP] * (APP in serve.status().applications) + [RUNS_APP] * is_abandoned()
    if not found:
        raise ConfigError(f"judges: none are up at {os.environ['RAY_ADDRESS']}")
    take_down(*found)
    return f"judges: ended at {os.environ['RAY_ADDRESS']}"


def _start_head(cpus: int) -> str:
    """Start a head for the judges, and return its address."""
    if ray_head.find_running(NOTE):
        raise ConfigError("judges: a fleet that was started from here is still up; `make judges-down` first")
    started = ray_head.start(["--port=0", f"--num-cpus={cpus}", "--include-dashboard=false"], {})
    ray_head.save_record(NOTE, started)
    atexit.register(ray_head.end, started)  # until the judges are up
    return started.address

"""Jobs of a cluster: submit, follow and stop them through its dashboard."""

import asyncio
import logging
import secrets
import shlex
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from factory.cluster import local_cluster, status
from factory.cluster.dashboard_client import dashboard_errors
from factory.config.loading import load_config, read_config
from factory.errors import ConfigError
from factory.resources import RESOURCES

JOBS = sorted(path.stem for path in (RESOURCES / "jobs").glob("*.py"))
NOT_UPLOADED = [".git", ".venv", "runs"]
"""In addition to the files in .gitignore and .rayignore."""
POLL_S = 1.0


def submit(job: str, config: Path, overrides: Sequence[str], address: str | None, say: Callable[[str], None]) -> int:
    """Submit a job, follow it to its end, and return its exit status.

    Args:
        job: the name of a script in jobs/.
        config: the file with the run's settings.
        overrides: overrides of settings, and options, one word each.
        address: the URL of the cluster's dashboard; None for the local cluster.
        say: prints a line.

    Raises:
        ConfigError: the job does not exist, or the cluster cannot read the config or keep the output.
        UnreachableError: the cluster does not respond.
    """
    if job not in JOBS:
        raise ConfigError(f"JOB={job}: no such job; use one of {', '.join(JOBS)}")
    is_local = address is None
    dashboard = address or local_cluster.running_head().dashboard
    command = ["python", f"jobs/{job}.py", "--config", _config_in_job(config, is_local), *overrides]
    _check(config, overrides, is_local)
    name = f"{job}-{datetime.now(UTC):%m%d-%H%M%S}-{secrets.token_hex(2)}"
    # The local cluster runs on this machine: outputs go to the same folder as without it.
    environment = {"FACTORY_OUTPUTS": str(Path.cwd())} if is_local else {}
    runtime_env = {"working_dir": str(RESOURCES), "excludes": NOT_UPLOADED, "env_vars": environment}
    with dashboard_errors(dashboard):
        client = _client(dashboard)
        client.submit_job(entrypoint=shlex.join(command), submission_id=name, runtime_env=runtime_env)
        say(f"Submitted to {dashboard} as {name}; follow it: make logs JOB_ID={name}; stop it: make stop JOB_ID={name}")
        return _follow(client, name, say)


def logs(job_id: str, address: str | None, say: Callable[[str], None]) -> int:
    """Print a job's log from its first line to its end, and return the job's exit status.

    Raises:
        ConfigError: the job does not exist.
        UnreachableError: the cluster does not respond.
    """
    dashboard = address or local_cluster.running_head().dashboard
    with dashboard_errors(dashboard):
        client = _client(dashboard)
        _job_info(client, job_id, dashboard)
        return _follow(client, job_id, say)


def stop(job_id: str, address: str | None) -> str:
    """Stop a job gracefully (it finishes the work in flight); the second time, kill it. Return a message.

    A small job on the head, where drivers run too, sends the SIGTERM: Ray's own stop kills after three
    seconds unless the head was started with a longer wait.

    Raises:
        ConfigError: the job does not exist.
        UnreachableError: the cluster does not respond.
    """
    dashboard = address or local_cluster.running_head().dashboard
    with dashboard_errors(dashboard):
        client = _client(dashboard)
        info = _job_info(client, job_id, dashboard)
        if info.status.is_terminal():
            return f"{job_id} has already ended ({info.status})"
        stop_job = f"{status.STOP_PREFIX}{job_id}"
        is_stopping = any(job.submission_id == stop_job for job in client.list_jobs())
        if is_stopping or not info.driver_info:
            client.stop_job(job_id)
            return f"{job_id} was killed"
        client.submit_job(entrypoint=f"kill -TERM {int(info.driver_info.pid)}", submission_id=stop_job)
        return f"{job_id} is stopping: it finishes and writes the work in flight; repeat the command to kill it"


def _config_in_job(config: Path, is_local: bool) -> str:
    """Return the config's path in the job, which runs in a copy of the project."""
    full = config.expanduser().resolve()
    if not full.is_file():
        raise ConfigError(f"CONFIG={config}: no such file")
    if full.is_relative_to(RESOURCES):
        return str(full.relative_to(RESOURCES))
    if is_local:
        return str(full)
    raise ConfigError(f"CONFIG={config} is outside the project, which is uploaded; copy it to jobs/configs/")


def _check(config: Path, overrides: Sequence[str], is_local: bool) -> None:
    """Check the settings before the dashboard shows them; a remote job must not write to a machine's own folder."""
    settings = [word for word in overrides if "=" in word and not word.startswith("-")]
    output = load_config(config.expanduser(), settings).output
    written = str(read_config(config.expanduser(), settings)["output"])  # `~` and variables differ by machine
    if not is_local and "://" not in output and not Path(written).is_absolute():
        raise ConfigError(
            f"output is {written!r}, a folder of this machine; add ARGS=output=s3://bucket/prefix (gs:// on GCP), or "
            "the absolute path of a disk that all nodes share"
        )


def _client(address: str) -> Any:
    from ray.job_submission import JobSubmissionClient

    client = JobSubmissionClient(address)
    logging.getLogger("ray").setLevel(logging.ERROR)  # it logs each file that it does not upload
    return client


def _job_info(client: Any, job_id: str, dashboard: str) -> Any:
    try:
        return client.get_job_info(job_id)
    except RuntimeError as problem:
        if "404" not in str(problem) and "does not exist" not in str(problem):
            raise
        raise ConfigError(f"JOB_ID={job_id}: {dashboard} has no such job; list jobs with make cluster-status") from None


def _follow(client: Any, name: str, say: Callable[[str], None]) -> int:
    asyncio.run(_tail(client, name, say))
    while not (info := client.get_job_info(name)).status.is_terminal():
        time.sleep(POLL_S)
    if info.status == "SUCCEEDED":
        return 0
    say(f"{name}: {info.status.lower()}" + (f", exit status {info.driver_exit_code}" if info.driver_exit_code else ""))
    return int(info.driver_exit_code or 1)


async def _tail(client: Any, name: str, say: Callable[[str], None]) -> None:
    try:
        async for text in client.tail_job_logs(name):
            say(text.rstrip("\n"))
    except RuntimeError as lost:  # Ray's error for a broken connection
        raise ConnectionError(str(lost)) from None

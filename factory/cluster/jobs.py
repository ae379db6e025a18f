"""Jobs of a cluster: sent, followed and stopped through its dashboard."""

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
from factory.cluster.dashboard_client import reached
from factory.config.loading import load_config, read_config
from factory.errors import ConfigError
from factory.resources import RESOURCES

JOBS = sorted(path.stem for path in (RESOURCES / "jobs").glob("*.py"))
NOT_UPLOADED = [".git", ".venv", "runs"]
"""JoinedTable what .gitignore and .rayignore name."""
POLL_S = 1.0


def submit(job: str, config: Path, overrides: Sequence[str], address: str | None, say: Callable[[str], None]) -> int:
    """Send a job, follow it to its end, and give its exit status.

    Args:
        job: the name of a script in jobs/.
        config: the run's settings.
        overrides: settings and options laid over it, as one word each.
        address: the cluster's dashboard; None is the local cluster.
        say: takes what is printed.

    Raises:
        ConfigError: there is no such job, the config cannot be seen there, or its output would be lost there.
        UnreachableError: the cluster does not answer.
    """
    if job not in JOBS:
        raise ConfigError(f"JOB={job}: there is no such job; there are {', '.join(JOBS)}")
    here = address is None
    there = address or local_cluster.standing().dashboard
    command = ["python", f"jobs/{job}.py", "--config", _config_there(config, here), *overrides]
    _check(config, overrides, here)
    name = f"{job}-{datetime.now(UTC):%m%d-%H%M%S}-{secrets.token_hex(2)}"
    # The local cluster's machine is this one: outputs go where they would go without it.
    environment = {"FACTORY_OUTPUTS": str(Path.cwd())} if here else {}
    runtime_env = {"working_dir": str(RESOURCES), "excludes": NOT_UPLOADED, "env_vars": environment}
    with reached(there):
        client = _client(there)
        client.submit_job(entrypoint=shlex.join(command), submission_id=name, runtime_env=runtime_env)
        say(f"Sent to {there} as {name}; make logs JOB_ID={name} follows it, make stop JOB_ID={name} stops it")
        return _follow(client, name, say)


def logs(job_id: str, address: str | None, say: Callable[[str], None]) -> int:
    """Follow a job to its end, from its first line on, and give its exit status.

    Raises:
        ConfigError: there is no such job.
        UnreachableError: the cluster does not answer.
    """
    there = address or local_cluster.standing().dashboard
    with reached(there):
        client = _client(there)
        _info(client, job_id, there)
        return _follow(client, job_id, say)


def stop(job_id: str, address: str | None) -> str:
    """Ask a job to finish what is in flight and end; a job that was asked before is ended at once.

    A small job beside it sends the SIGTERM, since Ray's own stop kills after three seconds where its
    head was not told to wait. Drivers and that job run on the head.

    Raises:
        ConfigError: there is no such job.
        UnreachableError: the cluster does not answer.
    """
    there = address or local_cluster.standing().dashboard
    with reached(there):
        client = _client(there)
        info = _info(client, job_id, there)
        if info.status.is_terminal():
            return f"{job_id} has ended already ({info.status})"
        asking = f"{status.STOP}{job_id}"
        asked_before = any(job.submission_id == asking for job in client.list_jobs())
        if asked_before or not info.driver_info:
            client.stop_job(job_id)
            return f"{job_id} is ended at once"
        client.submit_job(entrypoint=f"kill -TERM {int(info.driver_info.pid)}", submission_id=asking)
        return f"{job_id} was asked to stop: it finishes and writes what is in flight; the same again ends it at once"


def _config_there(config: Path, here: bool) -> str:
    """The config's path as the job sees it: the project is uploaded, and the job runs in it."""
    full = config.expanduser().resolve()
    if not full.is_file():
        raise ConfigError(f"CONFIG={config}: there is no such file")
    if full.is_relative_to(RESOURCES):
        return str(full.relative_to(RESOURCES))
    if here:
        return str(full)
    raise ConfigError(f"CONFIG={config}: lies outside the project, which is what is uploaded; copy it to jobs/configs/")


def _check(config: Path, overrides: Sequence[str], here: bool) -> None:
    """Refuse settings that are wrong, before a dashboard shows them, and an output that is a folder of each machine."""
    settings = [word for word in overrides if "=" in word and not word.startswith("-")]
    output = load_config(config.expanduser(), settings).output
    written = str(read_config(config.expanduser(), settings)["output"])  # `~` and variables are each machine's own
    if not here and "://" not in output and not Path(written).is_absolute():
        raise ConfigError(
            f"output is {written!r}, a folder of this machine; add ARGS=output=s3://bucket/prefix (gs:// on GCP), or "
            "the whole path of a disk that all nodes share"
        )


def _client(address: str) -> Any:
    from ray.job_submission import JobSubmissionClient

    client = JobSubmissionClient(address)
    logging.getLogger("ray").setLevel(logging.ERROR)  # it names each file that it does not upload
    return client


def _info(client: Any, job_id: str, there: str) -> Any:
    try:
        return client.get_job_info(job_id)
    except RuntimeError as problem:
        if "404" not in str(problem) and "does not exist" not in str(problem):
            raise
        raise ConfigError(f"JOB_ID={job_id}: {there} knows no such job; make cluster-status shows them") from None


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
    except RuntimeError as lost:  # Ray's for a connection that broke
        raise ConnectionError(str(lost)) from None

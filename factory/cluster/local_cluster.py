"""A cluster on this machine: a head and Ray's autoscaler, whose worker nodes are local processes.

`make cluster-up` starts it, `make cluster-status` shows its state, `make cluster-down` stops it with
all its workers.
"""

import os
import secrets
import socket
import time
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from factory.cluster import status
from factory.cluster.dashboard_client import dashboard_errors
from factory.config import yaml12
from factory.errors import ConfigError, FactoryError
from factory.resources import RESOURCES
from factory.runtime import ray_head
from factory.runtime.ray_head import Head

NOTE = "cluster"
FILE = RESOURCES / "cluster" / "local.yaml"
HEAD_TYPE = "head"
DRAIN_S = 600
"""Time for a stopped job to finish the work in flight."""
STORE_BYTES = 200_000_000
"""Size of the head's object store: no work runs there."""


class NodeType(BaseModel):
    """A type of worker nodes."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    resources: dict[str, float]
    min_workers: int = Field(default=0, ge=0)
    max_workers: int = Field(ge=0)


class LocalCluster(BaseModel):
    """The settings in cluster/local.yaml."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_workers: int = Field(ge=1)
    idle_timeout_minutes: float = Field(gt=0)
    upscaling_speed: float = Field(gt=0)
    available_node_types: dict[str, NodeType] = Field(min_length=1)


def read(path: Path = FILE) -> LocalCluster:
    """Read the settings of a local cluster.

    Raises:
        ConfigError: a field is wrong, or the file cannot be read.
    """
    try:
        return LocalCluster.model_validate(yaml12.read(path))
    except (OSError, yaml12.YamlError) as problem:
        raise ConfigError(f"{path}: cannot be read: {' '.join(str(problem).split())}") from None
    except ValidationError as problem:
        first = problem.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise ConfigError(f"{path}: {where}: {first['msg']} (it is {first['input']!r})") from None


def up(path: Path = FILE, port: int = 8265) -> Head:
    """Start the cluster, which accepts jobs at the head's `dashboard`.

    Raises:
        ConfigError: the file is wrong, the port is taken, or the cluster is already running.
        FactoryError: it does not start.
    """
    cluster = read(path)
    if running := ray_head.find_running(NOTE):
        raise ConfigError(f"cluster: already running at {running.dashboard}; stop it with make cluster-down")
    if not _is_free(port):
        raise ConfigError(f"cluster: port {port} is taken; use another one with ARGS=--port=N")
    folder, gcs = ray_head.new_folder(), ray_head.free_port()
    autoscaling = Path(folder) / "autoscaling.yaml"
    autoscaling.write_text(yaml.safe_dump(autoscaling_config(cluster, f"127.0.0.1:{gcs}", folder)))
    started = ray_head.start(
        [
            f"--port={gcs}", f"--dashboard-port={port}", "--dashboard-host=127.0.0.1", "--num-cpus=0",
            f"--object-store-memory={STORE_BYTES}", f"--autoscaling-config={autoscaling}",
        ],
        _environment(),
        folder,
        f"http://127.0.0.1:{port}",
    )  # fmt: skip
    ray_head.save_record(NOTE, started)
    try:
        wait_until_ready(started)
    except FactoryError:
        down()
        raise
    return started


def down() -> Head:
    """Stop the cluster with all its workers, and return its head.

    Raises:
        ConfigError: no cluster is running.
    """
    head = running_head()
    ray_head.end(head)
    ray_head.delete_record(NOTE)
    return head


def running_head() -> Head:
    """Return the local cluster's head.

    Raises:
        ConfigError: no cluster is running.
    """
    if head := ray_head.find_running(NOTE):
        return head
    raise ConfigError("cluster: not running; start it with make cluster-up, or use another with ADDRESS=http://...")


def wait_until_ready(head: Head) -> None:
    """Wait until a job succeeds: the dashboard responds before the agent that starts jobs is up.

    Raises:
        FactoryError: no job succeeds in time.
    """
    from ray.job_submission import JobStatus, JobSubmissionClient

    deadline = time.monotonic() + ray_head.START_TIMEOUT_S
    while True:
        try:
            with dashboard_errors(head.dashboard):
                client = JobSubmissionClient(head.dashboard)
                job = client.submit_job(entrypoint="true", submission_id=f"{status.READY_PREFIX}{secrets.token_hex(4)}")
                while not client.get_job_status(job).is_terminal():
                    time.sleep(0.2)
                if client.get_job_status(job) == JobStatus.SUCCEEDED:
                    return
                reason = client.get_job_info(job).message
        except FactoryError as problem:
            reason = str(problem)
        if time.monotonic() > deadline:
            lines = (reason or "").strip().splitlines() or ["no reason given"]
            raise FactoryError(f"cluster: its head accepts no jobs ({lines[-1]}); see {head.folder}/head.log")
        time.sleep(1)


def autoscaling_config(cluster: LocalCluster, gcs: str, folder: str) -> dict[str, Any]:
    """Return the config of Ray's autoscaler, in which a cloud's settings must exist but may be empty."""
    empty_lists = (
        "setup_commands", "initialization_commands", "head_setup_commands", "worker_setup_commands",
        "head_start_ray_commands", "worker_start_ray_commands", "cluster_synced_files", "rsync_exclude", "rsync_filter",
    )  # fmt: skip
    workers = {
        name: {"resources": dict(kind.resources), "node_config": {}} | kind.model_dump(exclude={"resources"})
        for name, kind in cluster.available_node_types.items()
    }
    return {
        "cluster_name": "local",
        **cluster.model_dump(exclude={"available_node_types"}),
        "provider": {
            "type": "external",
            "module": "factory.cluster.local_node_provider.LocalNodeProvider",
            "gcs_address": gcs,
            "head_type": HEAD_TYPE,
            "folder": folder,
            "disable_node_updaters": True,
            "disable_launch_config_check": True,
        },
        "available_node_types": {
            HEAD_TYPE: {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0},
            **workers,
        },
        "head_node_type": HEAD_TYPE,
        "auth": {},
        "docker": {},
        "file_mounts": {},
        "file_mounts_sync_continuously": False,
        **{name: [] for name in empty_lists},
    }


def _environment() -> dict[str, str]:
    return {
        "RAY_enable_autoscaler_v2": "1",
        "RAY_CLOUD_INSTANCE_ID": "head",  # local_node_provider.HEAD_ID
        "AUTOSCALER_UPDATE_INTERVAL_S": "1",
        "RAY_NODE_TYPE_NAME": HEAD_TYPE,
        "RAY_JOB_STOP_WAIT_TIME_S": str(DRAIN_S),
        # A job's `python` is found on the head's PATH.
        "PATH": f"{Path(ray_head.ray_command()).parent}:{os.environ['PATH']}",
    }


def _is_free(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) != 0

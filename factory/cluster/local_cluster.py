"""A cluster on this machine: a real head and Ray's real autoscaler, whose worker nodes are processes here.

`make cluster-up` starts it, `make cluster-status` looks at it, `make cluster-down` ends it and all
of its workers.
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
from factory.cluster.dashboard_client import reached
from factory.config import yaml12
from factory.errors import ConfigError, FactoryError
from factory.resources import RESOURCES
from factory.runtime import ray_head
from factory.runtime.ray_head import Head

NOTE = "cluster"
FILE = RESOURCES / "cluster" / "local.yaml"
HEAD_TYPE = "head"
DRAIN_S = 600
"""So long may a job that is asked to stop take to finish what is in flight."""
STORE_BYTES = 200_000_000
"""The head's object store: no work runs there."""


class NodeType(BaseModel):
    """A kind of worker."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    resources: dict[str, float]
    min_workers: int = Field(default=0, ge=0)
    max_workers: int = Field(ge=0)


class LocalCluster(BaseModel):
    """What cluster/local.yaml says."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_workers: int = Field(ge=1)
    idle_timeout_minutes: float = Field(gt=0)
    upscaling_speed: float = Field(gt=0)
    available_node_types: dict[str, NodeType] = Field(min_length=1)


def read(path: Path = FILE) -> LocalCluster:
    """Read the file of a local cluster.

    Raises:
        ConfigError: with the field, its value and what is wrong with it.
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
    """Start the cluster; it takes jobs at the head's `dashboard`.

    Raises:
        ConfigError: the file is wrong, the port is taken, or the cluster is up already.
        FactoryError: it does not start.
    """
    cluster = read(path)
    if there := ray_head.find_running(NOTE):
        raise ConfigError(f"cluster: one is up already at {there.dashboard}; make cluster-down ends it")
    if not _is_free(port):
        raise ConfigError(f"cluster: port {port} is taken; give another with ARGS=--port=N")
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
        wait_until_it_takes_jobs(started)
    except FactoryError:
        down()
        raise
    return started


def down() -> Head:
    """End the cluster with all its workers.

    Raises:
        ConfigError: none is up.
    """
    there = standing()
    ray_head.end(there)
    ray_head.delete_record(NOTE)
    return there


def standing() -> Head:
    """The local cluster's head.

    Raises:
        ConfigError: none is up.
    """
    if there := ray_head.find_running(NOTE):
        return there
    raise ConfigError("cluster: none was started from here; make cluster-up starts one, ADDRESS=http://... names one")


def wait_until_it_takes_jobs(there: Head) -> None:
    """Return once a job was done: a dashboard answers before the agent that starts jobs is there.

    Raises:
        FactoryError: that did not come.
    """
    from ray.job_submission import JobStatus, JobSubmissionClient

    deadline = time.monotonic() + ray_head.START_TIMEOUT_S
    while True:
        try:
            with reached(there.dashboard):
                client = JobSubmissionClient(there.dashboard)
                job = client.submit_job(entrypoint="true", submission_id=f"{status.READY}{secrets.token_hex(4)}")
                while not client.get_job_status(job).is_terminal():
                    time.sleep(0.2)
                if client.get_job_status(job) == JobStatus.SUCCEEDED:
                    return
                why = client.get_job_info(job).message
        except FactoryError as problem:
            why = str(problem)
        if time.monotonic() > deadline:
            line = (why or "").strip().splitlines()[-1:] or ["no reason given"]
            raise FactoryError(f"cluster: its head takes no jobs ({line[0]}); see {there.folder}/head.log")
        time.sleep(1)


def autoscaling_config(cluster: LocalCluster, gcs: str, folder: str) -> dict[str, Any]:
    """What Ray's autoscaler reads; of a cloud's settings it wants the keys alone."""
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
            "module": "factory.cluster.local_node_provider.LocalNodes",
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
        "RAY_CLOUD_INSTANCE_ID": "head",  # as local_nodes.HEAD_ID
        "AUTOSCALER_UPDATE_INTERVAL_S": "1",
        "RAY_NODE_TYPE_NAME": HEAD_TYPE,
        "RAY_JOB_STOP_WAIT_TIME_S": str(DRAIN_S),
        # `python` of a job is the one that its head finds.
        "PATH": f"{Path(ray_head.ray_command()).parent}:{os.environ['PATH']}",
    }


def _is_free(port: int) -> bool:
    with socket.socket() as tried:
        return tried.connect_ex(("127.0.0.1", port)) != 0

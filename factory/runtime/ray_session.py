"""The Ray that a job runs on: a cluster where there is one, this machine otherwise."""

import json
import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import psutil
import ray
from ray.data._internal.datasource.range_datasource import RangeDatasource
from ray.exceptions import ActorDiedError, AuthenticationError, RayError, RayTaskError

from factory.errors import FactoryError, ModelError, UnreachableError
from factory.runtime import loopback, shutdown
from factory.runtime.ray_processes import own_session

LOCAL_BLOCKS_BYTES = 256 << 20
"""What the blocks of a pipeline may take on one machine: hundreds of shards."""
IO_TASK_CPUS = 0.5
"""What a task that reads or writes rows asks for, beside what answers them."""
KNOCK_S = 10
START_WAIT_S = 60
"""How long Ray waits for each of its own processes; by itself 30 s, which a very busy machine exceeds."""
STARTS = 3
"""Its node dies where an agent takes more than 15 s, which cannot be set (ray-project/ray#65983)."""


def start_ray(verbose: bool = False, local_cpus: int = 0) -> None:
    """Join the cluster that RAY_ADDRESS names (it is set inside a submitted job), or start one here.

    One started here has at least `local_cpus` CPUs in name, for actors that share the real ones.

    Workers' own chatter stays in Ray's log files unless `verbose`.

    Raises:
        UnreachableError: the cluster cannot be joined.
        FactoryError: Ray cannot start here.
    """
    os.environ.setdefault("RAY_DATA_DISABLE_PROGRESS_BARS", "1")
    level = logging.INFO if verbose else logging.ERROR
    options: dict[str, Any] = {"log_to_driver": verbose, "logging_level": level, "configure_logging": True}
    if address := os.environ.get("RAY_ADDRESS"):
        _join(address, options)
    else:
        # At least two CPUs in name, so that an engine and the stage that feeds it can run at once.
        _start_here(max(2, os.cpu_count() or 2, local_cpus), options)
        _tell_prometheus()
        # Without a limit, reading runs ahead of a slow engine until a quarter of the memory holds its blocks.
        limits = ray.data.ExecutionResources(object_store_memory=LOCAL_BLOCKS_BYTES)
        ray.data.DataContext.get_current().execution_options.resource_limits = limits
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.enable_operator_progress_bars = False
    context.verbose_stats_logs = False
    # A task's output is one block whatever its size: our blocks are shards, and they must not be cut.
    context.target_max_block_size = None
    context.raise_original_map_exception = True
    logging.getLogger("ray.data").setLevel(level)
    logging.getLogger("ray").setLevel(level)


def _join(address: str, options: dict[str, Any]) -> None:
    # One try: it waits 40 s for a head that does not answer, and Ray makes 20 of them.
    os.environ.setdefault("RAY_gcs_server_port_wait_time_s", "1")
    try:
        _knock(address)
        ray.init(**options)
    except (OSError, RuntimeError, ValueError, RayError) as problem:
        raise UnreachableError(f"RAY_ADDRESS {address}: {_why_not_joined(problem)}") from problem


def _knock(address: str) -> None:
    """Ray itself waits 40 s for an address at which nothing listens."""
    place = urlsplit(address if "://" in address else f"//{address}")
    if place.scheme in ("", "ray") and place.port:
        socket.create_connection((place.hostname, place.port), timeout=KNOCK_S).close()
        loopback.use(loopback.is_alone(str(place.hostname), place.port))


def _why_not_joined(problem: BaseException) -> str:
    told = [str(problem)]
    cause = problem.__cause__
    while cause is not None:
        told.append(str(cause))
        cause = cause.__cause__
    if isinstance(problem, AuthenticationError) or "InvalidAuthToken" in "".join(told):
        return (
            "the cluster's token is missing here, or is another one; set RAY_AUTH_MODE=token, and "
            "RAY_AUTH_TOKEN_PATH to a file that holds the token of its head"
        )
    if isinstance(problem, ValueError):
        return (
            "is no address that a job can join; give host:port of the cluster's head (http:// is for "
            "`ray job submit`), or unset it to use this machine"
        )
    if isinstance(problem, OSError) and len(told) == 1:
        return f"nothing answers there ({problem}); start a head there, or unset it to use this machine"
    return (
        f"cannot be joined ({told[0].splitlines()[0]}); a head of the same Ray must run there, "
        "and this machine must be a part of its cluster"
    )


def _start_here(cpus: int, options: dict[str, Any]) -> None:
    loopback.use(True)
    for name in ("RAY_gcs_server_port_wait_time_s", "RAY_raylet_start_wait_time_s"):
        os.environ.setdefault(name, str(START_WAIT_S))
    # Tasks of half a CPU want two workers a CPU. Ray ends those above one a CPU after a second without work, and each
    # that it starts again imports for two seconds: a scripted run of 1,000 shards started 24 and now 6.
    os.environ.setdefault("RAY_num_workers_soft_limit", str(2 * cpus))
    for left in reversed(range(STARTS)):
        others = psutil.Process().children(recursive=True)
        try:
            with own_session():
                # `local`, because a killed head leaves an address behind that a plain init would try to join.
                ray.init(address="local", num_cpus=cpus, include_dashboard=False, **options)
            return
        except Exception as problem:  # Ray raises no narrower one
            reason = (str(problem).strip().splitlines() or [type(problem).__name__])[0]
            if left and "timed out" in reason.lower():
                _end([child for child in psutil.Process().children(recursive=True) if child not in others])
                continue
            raise FactoryError(
                f"Ray cannot start on this machine: {reason}; where that is very busy, run the same command again; "
                f"Ray's logs are in {os.environ.get('RAY_TMPDIR', '/tmp')}/ray/session_latest/logs"
            ) from problem


def _tell_prometheus() -> None:
    """Note where this Ray's metrics are, in the file in which a Ray with a dashboard does it."""
    node: Any = ray._private.worker._global_node
    agents = [f"{one['NodeManagerAddress']}:{one['MetricsExportPort']}" for one in ray.nodes()]
    found = Path(node.get_session_dir_path()) / ray._private.ray_constants.PROMETHEUS_SERVICE_DISCOVERY_FILE
    found.write_text(json.dumps([{"labels": {"job": "ray"}, "targets": agents}]))


def _end(processes: list[psutil.Process]) -> None:
    """What is left of a Ray that did not come up."""
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(processes, timeout=10)


def on_gpu(device: Literal["auto", "cpu", "gpu"]) -> bool:
    """Whether a config's `device` means GPUs; `auto` is what the installed torch was built for."""
    if device != "auto":
        return device == "gpu"
    import torch

    return torch.version.cuda is not None


def fast_bf16(gpu: bool) -> bool:
    """Whether 16-bit floats pay: on GPUs, and on CPUs with AVX-512 or better.

    On those with AVX2 alone torch multiplies them a sixth as fast as 32-bit ones, and vLLM writes less
    than a third as many tokens a second.
    """
    import torch

    return gpu or torch.backends.cpu.get_cpu_capability() not in ("DEFAULT", "NO AVX", "AVX2")


def iter_rows(dataset: ray.data.Dataset) -> Iterator[dict[str, Any]]:
    """What a dataset gives, row by row, until the run is asked to stop.

    Raises:
        Stopped: it was; what is in flight is dropped.
    """
    for row in dataset.iter_rows():
        shutdown.check()
        yield row


def range_dataset(count: int, num_cpus: float = IO_TASK_CPUS) -> ray.data.Dataset:
    """The numbers below `count`, a block each, in a column `id`.

    Ray's own `range` makes them in tasks apart that ask for a whole CPU each, for which a run waited for ever
    where engines or judges left half of one; with the share of what reads them, the two are one task.

    Args:
        count: how many.
        num_cpus: that the map over them asks for.
    """
    source = RangeDatasource(count, column_name="id")
    read: ray.data.Dataset = ray.data.read_datasource(source, num_cpus=num_cpus, override_num_blocks=max(1, count))
    return read


def dataset_of(rows: list[dict[str, Any]]) -> ray.data.Dataset:
    """A dataset with a block for each of some rows, which are names and not data."""
    return range_dataset(len(rows)).map(lambda row: rows[row["id"]], num_cpus=IO_TASK_CPUS)


@contextmanager
def reraise_own_errors() -> Iterator[None]:
    """Raise a failure of ours that happened in a Ray task as itself."""
    try:
        yield
    except RayTaskError as problem:
        cause: BaseException | None = problem
        while cause is not None:
            # Ray raises an error that is of both classes and whose text is a traceback; ours is its cause.
            if isinstance(cause, FactoryError) and not isinstance(cause, RayTaskError):
                message, _, _ = str(cause).partition("\nFailed to apply UDF")  # Ray adds advice on retries
                raise type(cause)(message) from None
            cause = getattr(cause, "cause", None) or cause.__cause__
        raise
    except ActorDiedError as problem:
        # Ray gives an actor's failure to start as text alone, its reason in the last line.
        lines = [line for line in str(problem).splitlines() if line.strip()]
        raise ModelError(f"engine: cannot start: {lines[-1].strip()}; --verbose shows all that it said") from problem

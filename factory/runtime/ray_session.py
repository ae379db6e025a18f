"""The Ray session of a job: a cluster if RAY_ADDRESS is set, this machine otherwise."""

import json
import logging
import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import psutil
import ray
from ray.data.block import BlockAccessor
from ray.exceptions import ActorDiedError, AuthenticationError, RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from factory.errors import FactoryError, ModelError, UnreachableError
from factory.runtime import loopback, shutdown
from factory.runtime.ray_processes import WORKER_PRIORITY, own_session
from factory.runtime.row_datasource import RowDatasource

LOCAL_BLOCKS_BYTES = 256 << 20
"""Memory limit for the blocks of a pipeline on one machine: hundreds of shards."""
IO_TASK_CPUS = 0.5
"""The CPU request of a task that reads or writes rows, next to the engines."""
CONNECT_TIMEOUT_S = 10
START_WAIT_S = 60
"""How long Ray waits for each of its own processes; the default of 30 s is too short on a very busy machine."""
START_ATTEMPTS = 3
"""A node dies if an agent needs more than 15 s to start, which is not configurable (ray-project/ray#65983)."""


def start_ray(verbose: bool = False, local_cpus: int = 0) -> None:
    """Join the cluster at RAY_ADDRESS (set inside a submitted job), or start Ray on this machine.

    Args:
        verbose: whether to show the workers' output, which otherwise stays in Ray's log files.
        local_cpus: the minimum number of logical CPUs of a Ray started here, for actors that share the real ones.

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
        # At least two logical CPUs, so that an engine and the stage that feeds it can run at the same time.
        _start_here(max(2, os.cpu_count() or 2, local_cpus), options)
        _register_metrics()
        # Without a limit, reading runs ahead of a slow engine until its blocks fill a quarter of the memory.
        limits = ray.data.ExecutionResources(object_store_memory=LOCAL_BLOCKS_BYTES)
        ray.data.DataContext.get_current().execution_options.resource_limits = limits
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.enable_operator_progress_bars = False
    context.verbose_stats_logs = False
    # A task's output is one block of any size: our blocks are shards, which must not be split.
    context.target_max_block_size = None
    context.raise_original_map_exception = True
    # By default Ray ends a run in which no block moved for half an hour. Shards of long replies take longer.
    context.execution_no_progress_timeout_s = -1
    logging.getLogger("ray.data").setLevel(level)
    logging.getLogger("ray").setLevel(level)


def _join(address: str, options: dict[str, Any]) -> None:
    # One attempt: each waits 40 s for a head that does not answer, and Ray makes 20.
    os.environ.setdefault("RAY_gcs_server_port_wait_time_s", "1")
    try:
        _check_port(address)
        ray.init(**options)
    except (OSError, RuntimeError, ValueError, RayError) as problem:
        raise UnreachableError(f"RAY_ADDRESS {address}: {_join_failure(problem)}") from problem


def _check_port(address: str) -> None:
    """Connect to the head first: Ray itself waits 40 s for an address where nothing listens."""
    url = urlsplit(address if "://" in address else f"//{address}")
    if url.scheme in ("", "ray") and url.port:
        socket.create_connection((url.hostname, url.port), timeout=CONNECT_TIMEOUT_S).close()
        loopback.configure(on_loopback=loopback.is_on_loopback(str(url.hostname), url.port))


def _join_failure(problem: BaseException) -> str:
    messages = [str(problem)]
    cause = problem.__cause__
    while cause is not None:
        messages.append(str(cause))
        cause = cause.__cause__
    if isinstance(problem, AuthenticationError) or "InvalidAuthToken" in "".join(messages):
        return (
            "the cluster's token is missing here, or is wrong; set RAY_AUTH_MODE=token, and "
            "RAY_AUTH_TOKEN_PATH to a file with the token of its head"
        )
    if isinstance(problem, ValueError):
        return (
            "is not an address that a job can join; give host:port of the cluster's head (http:// is for "
            "`ray job submit`), or unset it to use this machine"
        )
    if isinstance(problem, OSError) and len(messages) == 1:
        return f"nothing answers there ({problem}); start a head there, or unset it to use this machine"
    return (
        f"cannot be joined ({messages[0].splitlines()[0]}); a head of the same Ray must run there, "
        "and this machine must be part of its cluster"
    )


def _start_here(cpus: int, options: dict[str, Any]) -> None:
    loopback.configure(on_loopback=True)
    for name in ("RAY_gcs_server_port_wait_time_s", "RAY_raylet_start_wait_time_s"):
        os.environ.setdefault(name, str(START_WAIT_S))
    # Tasks of half a CPU need two workers per CPU. Ray ends those above one per CPU after an idle second, and each
    # new one needs two seconds for its imports: a scripted run of 1,000 shards started 24, and now 6.
    os.environ.setdefault("RAY_num_workers_soft_limit", str(2 * cpus))
    os.environ.update(WORKER_PRIORITY | os.environ)
    for left in reversed(range(START_ATTEMPTS)):
        others = psutil.Process().children(recursive=True)
        try:
            with own_session():
                # `local`, because a plain init would try to join the address that a killed head left behind.
                ray.init(address="local", num_cpus=cpus, include_dashboard=False, **options)
            return
        except Exception as problem:  # Ray raises no more specific one
            reason = (str(problem).strip().splitlines() or [type(problem).__name__])[0]
            if left and "timed out" in reason.lower():
                _kill([child for child in psutil.Process().children(recursive=True) if child not in others])
                continue
            raise FactoryError(
                f"Ray cannot start on this machine: {reason}; if it is very busy, run the same command again; "
                f"Ray's logs are in {os.environ.get('RAY_TMPDIR', '/tmp')}/ray/session_latest/logs"
            ) from problem


def _register_metrics() -> None:
    """Write the addresses of this Ray's metrics to the file that a Ray with a dashboard writes for Prometheus."""
    node: Any = ray._private.worker._global_node
    agents = [f"{entry['NodeManagerAddress']}:{entry['MetricsExportPort']}" for entry in ray.nodes()]
    path = Path(node.get_session_dir_path()) / ray._private.ray_constants.PROMETHEUS_SERVICE_DISCOVERY_FILE
    path.write_text(json.dumps([{"labels": {"job": "ray"}, "targets": agents}]))


def _kill(processes: list[psutil.Process]) -> None:
    """Kill what is left of a Ray that did not start."""
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(processes, timeout=10)


def driver_node_options() -> dict[str, Any]:
    """Return the options of an actor on this process's node: on another one it could be lost with its machine."""
    here = ray.get_runtime_context().get_node_id()
    return {"num_cpus": 0, "scheduling_strategy": NodeAffinitySchedulingStrategy(here, soft=False)}


def on_gpu(device: Literal["auto", "cpu", "gpu"]) -> bool:
    """Return whether a config's `device` means GPUs; `auto` is what the installed torch was built for."""
    if device != "auto":
        return device == "gpu"
    import torch

    return torch.version.cuda is not None


def fast_bf16(gpu: bool) -> bool:
    """Return whether bfloat16 is fast: on GPUs, and on CPUs with AVX-512 or better.

    With AVX2 only, torch multiplies bfloat16 six times slower than float32, and vLLM generates less than a
    third as many tokens per second.
    """
    import torch

    return gpu or torch.backends.cpu.get_cpu_capability() not in ("DEFAULT", "NO AVX", "AVX2")


def iter_rows(dataset: ray.data.Dataset) -> Iterator[dict[str, Any]]:
    """Yield the rows of a dataset until a shutdown is requested.

    Raises:
        Stopped: a shutdown was requested; work in flight is dropped.
    """
    for row in rows_as_they_come(dataset):
        shutdown.raise_if_requested()
        yield row


def rows_as_they_come(dataset: ray.data.Dataset) -> Iterator[dict[str, Any]]:
    """Yield the rows of a dataset, each at once.

    Ray's own `iter_rows` holds a block back until the next one is there.
    """
    for block in dataset.iter_batches(prefetch_batches=0, batch_size=None, batch_format=None):
        yield from BlockAccessor.for_block(block).iter_rows(public_row_format=True)


def range_dataset(count: int, num_cpus: float = IO_TASK_CPUS) -> ray.data.Dataset:
    """Return a dataset of the numbers below `count` in a column `id`, as `dataset_of` does for any rows."""
    return dataset_of([{"id": number} for number in range(count)], num_cpus)


def dataset_of(rows: Sequence[Mapping[str, Any]], num_cpus: float = IO_TASK_CPUS) -> ray.data.Dataset:
    """Return a dataset with one block per row; rows are names, not data.

    Ray's own sources create blocks in separate tasks of one CPU each, so a run hung forever if engines or judges
    used all but half a CPU; with the CPU request of the map that reads them, both become one task.

    Args:
        rows: values that Arrow can hold.
        num_cpus: the CPU request of the map over them.
    """
    source, blocks = RowDatasource(rows), max(1, len(rows))
    read: ray.data.Dataset = ray.data.read_datasource(source, num_cpus=num_cpus, override_num_blocks=blocks)
    return read


@contextmanager
def reraise_own_errors() -> Iterator[None]:
    """Raise a FactoryError from a Ray task as itself."""
    try:
        yield
    except RayTaskError as problem:
        cause: BaseException | None = problem
        while cause is not None:
            # Ray raises an error of both classes whose text is a traceback; ours is its cause.
            if isinstance(cause, FactoryError) and not isinstance(cause, RayTaskError):
                message, _, _ = str(cause).partition("\nFailed to apply UDF")  # Ray adds advice on retries
                raise type(cause)(message) from None
            cause = getattr(cause, "cause", None) or cause.__cause__
        raise
    except ActorDiedError as problem:
        raise engine_start_error(problem) from problem


def engine_start_error(problem: BaseException) -> ModelError:
    """Return the error of an engine that does not start: Ray reports the reason as text, in the last line."""
    lines = [line for line in str(problem).splitlines() if line.strip()]
    return ModelError(f"engine: cannot start: {lines[-1].strip()}; --verbose shows its full output")

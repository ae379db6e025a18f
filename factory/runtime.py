"""The Ray that a job runs on: a cluster where there is one, this machine otherwise."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import ray
from ray.exceptions import ActorDiedError, RayTaskError

from factory.errors import ConfigError, FactoryError, ModelError

LOCAL_BLOCKS_BYTES = 256 << 20
"""What the blocks of a pipeline may take on one machine: hundreds of shards."""


def start(verbose: bool = False) -> None:
    """Join the cluster that RAY_ADDRESS names (it is set inside a submitted job), or start one here.

    Workers' own chatter stays in Ray's log files unless `verbose`.
    """
    os.environ.setdefault("RAY_DATA_DISABLE_PROGRESS_BARS", "1")
    level = logging.INFO if verbose else logging.ERROR
    options: dict[str, Any] = {"log_to_driver": verbose, "logging_level": level, "configure_logging": True}
    if os.environ.get("RAY_ADDRESS"):
        ray.init(**options)
    else:
        # `local`, because a killed head leaves an address behind that a plain init would try to join.
        # At least two CPUs in name, so that an engine and the stage that feeds it can run at once.
        ray.init(address="local", num_cpus=max(2, os.cpu_count() or 2), include_dashboard=False, **options)
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


def on_gpu(device: Literal["auto", "cpu", "gpu"]) -> bool:
    """Whether a config's `device` means GPUs; `auto` is what the installed torch was built for."""
    if device != "auto":
        return device == "gpu"
    import torch

    return torch.version.cuda is not None


def check_fits(cpus: float, gpus: float, what: str) -> None:
    """Fail at once where this machine or cluster can never give what a step needs.

    Raises:
        ConfigError: with what was asked for and what there is.
    """
    there = ray.cluster_resources()
    # What an autoscaler may grow to; a cluster without one tells nothing and stays as it is.
    grown = ray._private.state.state.get_max_resources_from_cluster_config() or {}
    where = "the cluster can give" if os.environ.get("RAY_ADDRESS") else "this machine has"
    for name, asked in (("CPU", cpus), ("GPU", gpus)):
        most = max(there.get(name, 0), grown.get(name, 0))
        if asked > most:
            raise ConfigError(
                f"{what} asks for {asked:g} {name}, {where} {most:g}; lower it, or name a larger cluster in RAY_ADDRESS"
            )


def each(rows: list[dict[str, Any]]) -> ray.data.Dataset:
    """A dataset with a block for each of some rows, which are names and not data."""
    return ray.data.range(len(rows), override_num_blocks=len(rows)).map(lambda row: rows[row["id"]], num_cpus=0.5)


@contextmanager
def unwrapped() -> Iterator[None]:
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

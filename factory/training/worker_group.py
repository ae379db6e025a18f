"""The group of training workers: Ray Train starts it, and restarts it after a failure."""

import tempfile
import threading
import uuid
from typing import Any

import ray
import ray.data
from ray.train import DataConfig, FailureConfig, ScalingConfig
from ray.train import RunConfig as RayRunConfig
from ray.train.torch import TorchConfig, TorchTrainer
from ray.train.v2.api.exceptions import TrainingFailedError
from ray.util.queue import Queue

from factory.config import Training
from factory.errors import FactoryError, TrainingError
from factory.runtime import shutdown
from factory.runtime.capacity import ACCELERATOR, Bundle, check_capacity
from factory.runtime.ray_session import IO_TASK_CPUS, driver_node_options
from factory.training.checkpointing import checkpoints
from factory.training.data import worker_datasets
from factory.training.monitor import TrainingMonitor
from factory.training.worker import work
from factory.training.worker_setup import WorkerSetup

PATIENCE_S = 1800
"""Ray Train's and torch's own default."""
SLOW_STORAGE = 25_000_000
"""Bytes per second that a machine reads, converts and writes at least."""


def run_workers(setup: WorkerSetup, monitor: TrainingMonitor) -> None:
    """Train to the end, restarting failed groups of workers from the newest checkpoint.

    Args:
        setup: what workers get.
        monitor: of their events.

    Raises:
        ConfigError: the cluster has no room for the workers.
        Stopped: the run received a stop request, and left a checkpoint.
        TrainingError: the workers cannot go on.
    """
    training = setup.training
    worker = Bundle(_resources(setup.on_gpu), node_labels(training))
    check_capacity([worker] * training.num_workers, "training.num_workers")
    # On the driver's node: on a node that is lost the queue would take every later group of workers with it.
    events = Queue(actor_options=driver_node_options())
    ended = threading.Event()
    listener = threading.Thread(target=monitor.listen, args=(events, ended), daemon=True)
    listener.start()
    with (
        shutdown.stop_flag(setup.checkpoints) as stop_flag,
        tempfile.TemporaryDirectory(prefix="character-factory-") as temporary,
    ):
        trainer = _trainer(setup, {"setup": setup, "events": events, "stop_flag": stop_flag}, temporary)
        try:
            trainer.fit()
        except TrainingFailedError as error:
            raise _cause(error, setup) from error
        finally:
            ended.set()
            listener.join()
            events.shutdown()
    if monitor.failure:
        raise TrainingError(monitor.failure)
    if monitor.error is not None:
        raise monitor.error
    if monitor.stopped_after is not None:
        raise shutdown.stopped(
            f"training: step {monitor.stopped_after:,} of {monitor.steps:,} is done; the same command resumes the run"
        )


def _trainer(setup: WorkerSetup, loop_config: dict[str, Any], temporary: str) -> TorchTrainer:
    training = setup.training
    options = ray.data.ExecutionOptions()
    options.preserve_order = True
    return TorchTrainer(
        work,
        train_loop_config=loop_config,
        torch_config=TorchConfig(backend="nccl" if setup.on_gpu else "gloo", timeout_s=_patience_s(setup)),
        datasets=worker_datasets(setup.train, setup.order, training.num_workers, setup.checkpoints),
        dataset_config=DataConfig(datasets_to_split=[], execution_options=options),
        scaling_config=ScalingConfig(  # type: ignore[call-arg]  # mypy sees the class of Ray Train's first version
            num_workers=training.num_workers,
            use_gpu=setup.on_gpu,
            resources_per_worker=_resources(setup.on_gpu),
            label_selector=node_labels(training) or None,
        ),
        # Checkpoints are ours: what Ray Train keeps of a run is its own small state.
        run_config=RayRunConfig(
            name=uuid.uuid4().hex,
            storage_path=temporary,
            failure_config=FailureConfig(max_failures=training.max_failures),
        ),
    )


def _patience_s(setup: WorkerSetup) -> int:
    """Return how long a worker waits for the others: they may be loading a checkpoint, and converting it."""
    found = checkpoints.newest(setup.checkpoints)
    return PATIENCE_S + (found.size // SLOW_STORAGE if found else 0)


def _cause(error: TrainingFailedError, setup: WorkerSetup) -> FactoryError:
    """Return what ended the workers, in one line."""
    failures = list(getattr(error, "worker_failures", {}).values()) or [error]
    for failure in failures:
        cause: BaseException | None = failure
        while cause is not None:
            if isinstance(cause, FactoryError) and type(cause).__module__ == FactoryError.__module__:
                return cause
            cause = getattr(cause, "cause", None) or cause.__cause__
    lines = [line.strip() for line in str(failures[0]).splitlines() if line.strip()]
    found = checkpoints.newest(setup.checkpoints)
    kept = f"the same command resumes from step {found.step}" if found else "no checkpoint was written yet"
    return TrainingError(
        f"training: the workers failed {setup.training.max_failures + 1} times, the last time with: "
        f"{lines[-1][:300]}; {kept}; --verbose shows their whole output"
    )


def _resources(gpu: bool) -> dict[str, float]:
    """Return the resources of a worker: half a core, so that its data can be read beside it."""
    return {"CPU": IO_TASK_CPUS} | ({"GPU": 1} if gpu else {})


def node_labels(training: Training) -> dict[str, str]:
    """Return the labels that the node of a worker must have."""
    labels = {"pool": training.pool, ACCELERATOR: training.accelerator_type}
    return {name: value for name, value in labels.items() if value}

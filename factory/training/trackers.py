"""Experiment trackers: where a training's metrics go beside `metrics.jsonl`, by the setting `training.trackers`.

Each imports its package when it starts, so that only those in use are needed. A run that goes on with the same settings
is the same run there.
"""

import shutil
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from factory.errors import ConfigError, StorageError
from factory.storage import file_io

PROJECT = "character-factory"
FOLDER = "tensorboard"


class Tracker(ABC):
    """A destination of metrics."""

    @abstractmethod
    def log(self, metrics: Mapping[str, float], step: int) -> None:
        """Add metrics of a step, such as `step/loss`."""

    def flush(self) -> None:  # noqa: B027  # most write by themselves
        """Write what was added."""

    @abstractmethod
    def close(self) -> None:
        """End the run."""


class TensorBoard(Tracker):
    """Event files beside the checkpoints; for a bucket they are copies of local ones."""

    def __init__(self, folder: str, run: str, settings: Mapping[str, Any]) -> None:
        from tensorboardX import SummaryWriter

        self._target = file_io.join(folder, FOLDER)
        self._is_remote = "://" in folder
        self._local = Path(tempfile.mkdtemp(prefix="character-factory-") if self._is_remote else self._target)
        self._writer = SummaryWriter(str(self._local))

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        for name, value in metrics.items():
            self._writer.add_scalar(name, value, step)

    def flush(self) -> None:
        self._writer.flush()
        self._copy()

    def close(self) -> None:
        self._writer.close()  # first: it writes from a thread, which `flush` does not wait for
        self._copy()
        if self._is_remote:
            shutil.rmtree(self._local)

    def _copy(self) -> None:
        if self._is_remote:
            with suppress(StorageError):  # written the next time
                for file in self._local.iterdir():
                    file_io.write_bytes(file_io.join(self._target, file.name), file.read_bytes())


class WandB(Tracker):
    """Weights & Biases; project and account come from its environment variables where they are set."""

    def __init__(self, folder: str, run: str, settings: Mapping[str, Any]) -> None:
        import wandb

        self._run = wandb.init(project=PROJECT, id=run, name=run, resume="allow", config=dict(settings))
        self._run.define_metric("*", step_metric="training_step")  # its own step never goes back, as ours may

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        self._run.log({**metrics, "training_step": step})

    def close(self) -> None:
        self._run.finish()


class Trackio(Tracker):
    """trackio, which keeps runs on this machine or in a Space of the Hugging Face hub."""

    def __init__(self, folder: str, run: str, settings: Mapping[str, Any]) -> None:
        import trackio

        self._run = trackio.init(project=PROJECT, name=run, resume="allow", config=dict(settings))

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        self._run.log(dict(metrics), step=step)

    def close(self) -> None:
        self._run.finish()


class MLflow(Tracker):
    """MLflow, at the server that `MLFLOW_TRACKING_URI` names."""

    def __init__(self, folder: str, run: str, settings: Mapping[str, Any]) -> None:
        import mlflow

        self._client = mlflow.MlflowClient()
        found = self._client.get_experiment_by_name(PROJECT)
        experiment = found.experiment_id if found else self._client.create_experiment(PROJECT)
        same = self._client.search_runs([experiment], filter_string=f"attributes.run_name = '{run}'", max_results=1)
        self._id = (same[0] if same else self._client.create_run(experiment, run_name=run)).info.run_id
        for name, value in {} if same else settings.items():
            self._client.log_param(self._id, name, value)

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        for name, value in metrics.items():
            self._client.log_metric(self._id, name, value, step=step)

    def close(self) -> None:
        self._client.set_terminated(self._id)


TRACKERS: Mapping[str, Callable[[str, str, Mapping[str, Any]], Tracker]] = {
    "tensorboard": TensorBoard, "wandb": WandB, "trackio": Trackio, "mlflow": MLflow,
}  # fmt: skip
PACKAGES = {"tensorboard": "tensorboardX", "wandb": "wandb", "trackio": "trackio", "mlflow": "mlflow"}
"""The package that each imports."""


class Sink:
    """All trackers of a run; one that fails is left out from then on, as no tracker is worth a training."""

    def __init__(self, trackers: Mapping[str, Tracker], say: Callable[[str], object]) -> None:
        self._trackers, self._say = dict(trackers), say

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        """Add metrics of a step."""
        self._each(lambda tracker: tracker.log(metrics, step))

    def flush(self) -> None:
        """Write what was added."""
        self._each(lambda tracker: tracker.flush())

    def close(self) -> None:
        """End the run."""
        self._each(lambda tracker: tracker.close())

    def _each(self, act: Callable[[Tracker], None]) -> None:
        for name, tracker in list(self._trackers.items()):
            try:
                act(tracker)
            except Exception as problem:  # of any package, such as that a server is away
                del self._trackers[name]
                self._say(f"training: {name} gets no more metrics until the next start ({_line(problem)})")


def start_trackers(
    names: tuple[str, ...], folder: str, run: str, settings: Mapping[str, Any], say: Callable[[str], object]
) -> Sink:
    """Start the trackers of a run.

    Args:
        names: of `training.trackers`.
        folder: of the checkpoints.
        run: identifies the run, also when it goes on.
        settings: to show beside the metrics.
        say: called with a line if a tracker fails.

    Raises:
        ConfigError: a tracker cannot be started.
    """
    started = {}
    for name in names:
        try:
            started[name] = TRACKERS[name](folder, run, settings)
        except Exception as problem:
            raise ConfigError(
                f"training.trackers: {name} does not start ({_line(problem)}); set it up, or leave it out"
            ) from None
    return Sink(started, say)


def _line(problem: Exception) -> str:
    return " ".join(f"{type(problem).__name__}: {problem}".split())[:200]

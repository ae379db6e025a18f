"""The driver's part of training: it starts the workers, shows what they tell, and writes it down."""

import queue
import tempfile
import threading
import time
import uuid
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Any

import ray
import ray.data
from ray.train import DataConfig, FailureConfig, ScalingConfig
from ray.train import RunConfig as RayRunConfig
from ray.train.torch import TorchConfig, TorchTrainer
from ray.train.v2.api.exceptions import TrainingFailedError
from ray.util.queue import Queue
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from factory.config import RunConfig
from factory.errors import FactoryError, Stopped, StorageError, TrainingError
from factory.inference.model_files import Located
from factory.records import Counts
from factory.runtime import metrics, shutdown
from factory.runtime.capacity import check_capacity
from factory.runtime.progress import Progress
from factory.runtime.ray_session import on_gpu
from factory.storage import file_io
from factory.storage.manifest import build_manifest
from factory.storage.tables import Table, compute_fingerprint
from factory.training import checkpoints
from factory.training.data import worker_datasets
from factory.training.data_order import SampleOrder
from factory.training.export import finished_fingerprint, set_aside
from factory.training.metrics_log import MetricsLog
from factory.training.model import resolve_precision
from factory.training.model_card import card_of, origin_of
from factory.training.pack_step import Packed, pack_split
from factory.training.validation_gain import LossChange, in_both, loss_change
from factory.training.worker import Setup, work

CPUS_A_WORKER = 0.5
"""A training process on the CPU asks Ray for so much, so that its data can be read beside it."""
WRITE_EVERY_S = 10
NOT_DECIDING = {
    "num_workers", "pool", "device", "gradient_checkpointing", "attention", "liger", "max_failures",
    "eval_steps", "validation_sequences", "save_steps", "save_total_limit",
}  # fmt: skip
"""Settings that may change between a run and the one that goes on from its checkpoint."""


def train(config: RunConfig, model: Located, progress: Progress) -> None:
    """Curated dialogues to `packed/`, `checkpoints/` and `model/`, or what is missing of them.

    Raises:
        Stopped: the run was asked to end, and left a checkpoint.
        FactoryError: the run cannot go on; the same command goes on from the last checkpoint.
    """
    packed, table, fingerprint = open_table(config, model, progress)
    training = resolve_precision(config.training)
    model_folder = file_io.join(config.output, "model")
    set_aside(config.output, "model", fingerprint, progress.say)
    finished = table.manifest()
    if finished and finished_fingerprint(model_folder) == fingerprint:
        progress.done(finished, skipped=True)
        return
    gpu = on_gpu(training.device)
    check_capacity([_bundle(gpu)] * training.num_workers, "training.num_workers", training.pool)
    order = SampleOrder(list(packed["train"].shards.values()), training.epochs, training.global_batch_size, config.seed)
    card = card_of(config, model.revision, packed["train"].manifest, packed["validation"].manifest, origin_of(config))
    setup = Setup(
        training, model.pinned, config.seed, gpu, table.path, packed["train"], packed["validation"], order,
        model_folder, card, fingerprint,
    )  # fmt: skip
    _tell_where(table, progress)
    board = Board(MetricsLog(table.path), progress, order.steps)
    progress.begin(["training"], order.steps, "steps")
    try:
        _fit(setup, board)
    finally:
        progress.finish()
        board.history.close()
    _finish(table, model, setup, board, progress)


def open_table(config: RunConfig, model: Located, progress: Progress) -> tuple[dict[str, Packed], Table, str]:
    """Pack what is curated and begin the table of checkpoints; returns both, and the fingerprint of the training."""
    training = resolve_precision(config.training)
    packed = {split: pack_split(config, model, split, progress) for split in ("train", "validation")}
    table = Table(config.output, "checkpoints")
    decided = {
        "seed": config.seed,
        "model": asdict(model),
        "packed": [(one.manifest["fingerprint"], one.manifest["finished"]) for one in packed.values()],
        **{name: value for name, value in training.model_dump().items() if name not in NOT_DECIDING},
    }
    fingerprint = compute_fingerprint(decided)
    table.begin(fingerprint, decided, progress.say)
    return packed, table, fingerprint


def _bundle(gpu: bool) -> dict[str, float]:
    """What a worker asks Ray for."""
    return {"CPU": CPUS_A_WORKER} | ({"GPU": 1} if gpu else {})


def _tell_where(table: Table, progress: Progress) -> None:
    """Check the newest checkpoint byte by byte, mark what is damaged, and say what was found."""
    for path in checkpoints.unreadable(table.path):
        checkpoints.mark_damaged(path)
    for checkpoint in checkpoints.finished_checkpoints(table.path):
        if not ray.get(_changed_files.remote(checkpoint)):
            break
        checkpoints.mark_damaged(checkpoint.path)
    for name in checkpoints.damaged(table.path):
        progress.say(f"training: the checkpoint {name} is damaged; it is kept, and not used")
    if found := checkpoints.newest(table.path):
        progress.say(f"training: going on from step {found.step}")


@ray.remote(num_cpus=0.5)
def _changed_files(checkpoint: checkpoints.Checkpoint) -> list[str]:
    return checkpoints.changed_files(checkpoint)


@dataclass
class Board:
    """Takes in what the workers tell."""

    history: MetricsLog
    progress: Progress
    steps: int
    kind: dict[str, Any] = field(default_factory=dict)
    failure: str = ""
    stopped_after: int | None = None
    """The step after which the workers ended because they were asked to."""
    problem: Exception | None = None
    """What went wrong first in taking in; the run ends with it when the workers have ended."""
    _written: float = 0.0

    def take(self, event: dict[str, Any]) -> None:
        """Show and keep one event."""
        kind = event["kind"]
        if kind == "started":
            self.kind = {name: event[name] for name in ("engine", "optimizer", "zero_stage", "parameters", "workers")}
            self.history.forget_after(event["step"])
            self.progress.resume_at(event["step"])
        elif kind == "step":
            self.history.add(event)
            metrics.count_trained(event["tokens"])
            metrics.set_rows_left("training", self.steps - event["step"])
            mfu = f", {event['mfu']:.0%} MFU" if "mfu" in event else ""
            self.progress.tell(
                event["step"],
                f"loss {event['loss']:.3f}, rate {event['learning_rate']:.2g}, "
                f"{event['tokens_per_second']:,.0f} tokens/s{mfu}",
            )
        elif kind == "validation":
            self.history.add(event)
            self.progress.say(
                f"training: step {event['step']}, validation loss {event['loss']:.4f} "
                f"(perplexity {event['perplexity']:.2f}, {event['dialogues']:,} dialogues)"
            )
        elif kind == "failed":
            self.failure = event["message"]
        elif kind == "stopped":
            self.stopped_after = event["step"]
        if kind == "saved" or time.monotonic() - self._written > WRITE_EVERY_S:
            with suppress(StorageError):  # the rows stay in memory, and are written the next time
                self.history.write()
            self._written = time.monotonic()

    def listen(self, events: Any, ended: threading.Event) -> None:
        """Take in all events until the workers have ended and nothing is left.

        A failure is kept, and the rest is heard all the same: it may be that the workers failed.
        """
        while True:
            try:
                event = events.get(timeout=1)
            except queue.Empty:
                if ended.is_set():
                    return
                continue
            except Exception as problem:  # the queue is gone, and nothing more can be heard
                self.problem = self.problem or problem
                return
            try:
                self.take(event)
            except Exception as problem:
                self.problem = self.problem or problem


def _fit(setup: Setup, board: Board) -> None:
    # JoinedTable the driver: on a node that is lost it would take every later group of workers with it.
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    events = Queue(actor_options={"num_cpus": 0, "scheduling_strategy": here})
    ended = threading.Event()
    listener = threading.Thread(target=board.listen, args=(events, ended), daemon=True)
    listener.start()
    workers = setup.training.num_workers
    with (
        shutdown.stop_flag(setup.checkpoints) as gate,
        tempfile.TemporaryDirectory(prefix="character-factory-") as scratch,
    ):
        trainer = TorchTrainer(
            work,
            train_loop_config={"setup": setup, "events": events, "gate": gate},
            torch_config=TorchConfig(backend="nccl" if setup.on_gpu else "gloo"),
            datasets=worker_datasets(setup.train, setup.order, workers, setup.checkpoints),
            dataset_config=DataConfig(datasets_to_split=[], execution_options=_in_order()),
            scaling_config=ScalingConfig(  # type: ignore[call-arg]  # mypy sees the class of Ray Train's first version
                num_workers=workers,
                use_gpu=setup.on_gpu,
                resources_per_worker=_bundle(setup.on_gpu),
                label_selector={"pool": setup.training.pool} if setup.training.pool else None,
            ),
            # Checkpoints are ours: what Ray Train keeps of a run is its own small state.
            run_config=RayRunConfig(
                name=uuid.uuid4().hex,
                storage_path=scratch,
                failure_config=FailureConfig(max_failures=setup.training.max_failures),
            ),
        )
        try:
            trainer.fit()
        except TrainingFailedError as problem:
            raise _told(problem, setup) from problem
        finally:
            ended.set()
            listener.join()
            events.shutdown()
    if board.failure:
        raise TrainingError(board.failure)
    if board.problem is not None:
        raise board.problem
    if board.stopped_after is not None:
        raise Stopped(f"training: step {board.stopped_after:,} of {board.steps:,} is done; the same command goes on")


def _in_order() -> Any:
    options = ray.data.ExecutionOptions()
    options.preserve_order = True
    return options


def _told(problem: TrainingFailedError, setup: Setup) -> FactoryError:
    """What ended the workers, in one line."""
    failures = list(getattr(problem, "worker_failures", {}).values()) or [problem]
    for failure in failures:
        cause: BaseException | None = failure
        while cause is not None:
            if isinstance(cause, FactoryError) and type(cause).__module__ == FactoryError.__module__:
                return cause
            cause = getattr(cause, "cause", None) or cause.__cause__
    lines = [line.strip() for line in str(failures[0]).splitlines() if line.strip()]
    found = checkpoints.newest(setup.checkpoints)
    kept = f"the same command goes on from step {found.step}" if found else "no checkpoint was written yet"
    return TrainingError(
        f"training: the workers failed {setup.training.max_failures + 1} times, the last time with: "
        f"{lines[-1][:300]}; {kept}; --verbose shows all that they said"
    )


def _finish(table: Table, model: Located, setup: Setup, board: Board, progress: Progress) -> None:
    result = _gain(table, setup)
    dialogues = Counts(ok=setup.train.manifest["ok"])
    steps = board.history.rows("step")
    last = steps[-1] if steps else {"loss": float("nan")}
    manifest = build_manifest(
        table.name,
        dialogues.rows,
        dialogues,
        progress.timing(dialogues),
        setup.fingerprint,
        model=asdict(model),
        steps=setup.order.steps,
        epochs=setup.training.epochs,
        tokens=sum(row["tokens"] for row in steps),
        train_loss=last["loss"],
        validation=result and asdict(result) | {"significant": result.significant},
        trained_by=board.kind,
    )
    table.finish(manifest)
    progress.done(manifest)
    progress.say(_told_gain(result))


def _gain(table: Table, setup: Setup) -> LossChange | None:
    validations = Table(table.path, "validation")
    names = [f"step-{step:08}" for step in (0, setup.order.steps)]
    if not {*names} <= {*validations.shards()}:  # one that could not be read was dropped
        return None
    both = in_both(*map(validations.read, names))
    if not both.num_rows:
        return None
    before, after, tokens = (both[name].to_numpy() for name in ("loss", "loss_after", "tokens"))
    return loss_change(before, after, tokens, setup.seed)


def _told_gain(found: LossChange | None) -> str:
    if found is None:
        return "No gain is told: the validations before and after training have no dialogue in common"
    return (
        f"Validation loss {found.before:.4f} before, {found.after:.4f} after training: {found.change:+.4f} "
        f"(95 % interval {found.low:+.4f} to {found.high:+.4f}, {found.dialogues:,} dialogues), "
        + ("a significant gain" if found.significant else "no significant gain")
    )

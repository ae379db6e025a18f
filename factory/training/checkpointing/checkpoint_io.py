"""The engine's state to a checkpoint and back: each worker writes and reads its own part."""

import platform
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
import torch
import torch.distributed as dist

from factory.config import Training
from factory.storage import file_io
from factory.training.checkpointing import checkpoints
from factory.training.checkpointing.checkpoint_loading import (
    bytes_to_load,
    convert_to_universal,
    download,
    files_to_load,
)
from factory.training.checkpointing.checkpoint_weights import own_weights, weights_name
from factory.training.checkpointing.checkpoint_writer import captured, copy_to_cpu, write_file
from factory.training.checkpointing.checkpoints import TAG, Checkpoint, Files
from factory.training.deepspeed_engine import fix_loaded_optimizer
from factory.training.metrics_log import drop_parts_after, write_part
from factory.training.parameter_size import whole_size
from factory.training.train_step import sum_over_workers

COPY_MARGIN = 1.2
"""Free memory that a copy needs, relative to its size: training itself goes on beside it."""


class TrainingEnd(Exception):  # noqa: N818
    """Training ends on every worker alike; the message has the reason and the remedy."""


@dataclass(frozen=True)
class Saved:
    """A complete checkpoint, and what it cost."""

    checkpoint: Checkpoint
    blocked_seconds: float
    """In which training waited."""
    seconds: float
    """From its begin until it was complete."""
    in_background: bool
    """False if the machine had no memory for a copy, so that training waited for all of it."""


@dataclass
class _Pending:
    """A checkpoint that is being written."""

    step: int
    validation_loss: float | None
    metrics: Sequence[Mapping[str, Any]]
    own_files: Future[Files]
    device: torch.device
    began: float
    blocked: float
    in_background: bool


class CheckpointIO:
    """Saves and loads one worker's part of a checkpoint.

    A save copies the state to CPU memory; a thread writes it while training goes on. The checkpoint counts once
    the main threads of all workers have agreed that every part is there, so that a kill at any moment leaves the one
    before.
    """

    def __init__(
        self, folder: str, training: Training, rank: int, workers: int, local_rank: int, local_workers: int
    ) -> None:
        self.folder, self.training, self.rank, self.workers = folder, training, rank, workers
        self.local_rank, self.local_workers = local_rank, local_workers
        """On this machine; `workers` counts all."""
        self._threads = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._pending: _Pending | None = None
        self._dropping: Future[None] | None = None

    def begin(
        self,
        engine: Any,
        step: int,
        validation_loss: float | None,
        last: Checkpoint | None,
        metrics: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        """Begin to write a checkpoint together with all other workers; `poll` or `finish` completes it.

        Args:
            engine: whose state is saved, as it is now.
            step: the steps that are done.
            validation_loss: at that step, if it was validated.
            last: the newest checkpoint.
            metrics: those since the one before.

        Raises:
            TrainingEnd: the disk is too full, on every worker alike.
            StorageError: a file cannot be written (without a copy; else `poll` and `finish` raise it).
        """
        assert self._pending is None, "the checkpoint before is not complete"
        began = time.monotonic()
        path, staged = checkpoints.checkpoint_path(self.folder, step), self._staging(f"write-{self.rank}")
        shutil.rmtree(staged, ignore_errors=True)
        self._check_space(engine, last)
        if self.rank == 0:
            file_io.delete_folder(path)  # what a killed run left of it
        dist.barrier()
        (staged / TAG).mkdir(parents=True)
        in_background, own_files, copied = self._fits_in_memory(engine, last), Files(), dict[str, Any]()

        def write(name: str, state: Any) -> None:
            own_files[name] = write_file(state, staged / TAG / name, file_io.join(path, TAG, name))

        def keep(name: str, state: Any) -> None:
            copied[name] = copy_to_cpu(state)

        def write_copies() -> Files:
            try:
                for name in list(copied):
                    write(name, copied.pop(name))
            finally:
                shutil.rmtree(staged, ignore_errors=True)
            return own_files

        self._capture(engine, staged, keep if in_background else write)
        writing = self._threads.submit(write_copies)
        self._pending = _Pending(
            step, validation_loss, list(metrics), writing, engine.device, began, time.monotonic() - began, in_background
        )  # fmt: skip

    def _capture(self, engine: Any, staged: Path, save: Callable[[str, Any], None]) -> None:
        """Give `save` the name and the content of each file of this worker's part; every worker must call it."""
        trained_only = self.training.lora is not None
        with captured(engine, save):
            engine.save_checkpoint(str(staged), tag=TAG, save_latest=False, exclude_frozen_parameters=trained_only)
        if engine.zero_optimization_stage() == 3:
            save(weights_name(self.rank), own_weights(engine.module, trained_only))

    def poll(self) -> Saved | None:
        """Complete the checkpoint that is being written once every worker's part is there; each must call it.

        Raises:
            StorageError: this worker's part cannot be written.
        """
        if self._pending is None:
            return None
        (done,) = sum_over_workers([float(self._pending.own_files.done())], self._pending.device)
        return self.finish() if done == self.workers else None

    def finish(self) -> Saved | None:
        """Wait for the checkpoint that is being written, and complete it.

        Raises:
            StorageError: this worker's part cannot be written.
        """
        pending = self._pending
        if pending is None:
            return None
        waited = time.monotonic()
        parts: list[Any] = [None] * self.workers
        dist.all_gather_object(parts, pending.own_files.result())
        files = {name: size_and_hash for part in parts for name, size_and_hash in part.items()}
        path = checkpoints.checkpoint_path(self.folder, pending.step)
        saved = Checkpoint(path, pending.step, self.workers, pending.validation_loss, files)
        if self.rank == 0:
            # Before the checkpoint: a killed driver may not have written the metrics that it received.
            write_part(self.folder, pending.step, pending.metrics)
            checkpoints.write_manifest(saved)
            self._drop_old()
        dist.barrier()
        self._pending = None
        now = time.monotonic()
        return Saved(saved, pending.blocked + now - waited, now - pending.began, pending.in_background)

    def close(self) -> None:
        """Wait until old checkpoints are dropped.

        Raises:
            StorageError: one cannot be deleted.
        """
        if self._dropping:
            self._dropping.result()

    def _drop_old(self) -> None:
        """Drop the checkpoints that are not kept, while training goes on."""
        self.close()
        keep, exported = self.training.save_total_limit, self.training.export_checkpoint
        self._dropping = self._threads.submit(checkpoints.drop_old, self.folder, keep, exported)

    def prepare(self, engine: Any, last: Checkpoint | None) -> None:
        """Delete what killed runs left unfinished, and check disk space before an hour of GPUs is spent.

        Raises:
            TrainingEnd: a disk is too full, on every worker alike.
        """
        if self.local_rank == 0:
            for left in checkpoints.staging(self.folder).glob(".write-*"):
                shutil.rmtree(left, ignore_errors=True)
        if self.rank == 0:
            checkpoints.delete_unfinished(self.folder)
            drop_parts_after(self.folder, last.step if last else 0)
        dist.barrier()
        self._check_space(engine, last)

    def _fits_in_memory(self, engine: Any, last: Checkpoint | None) -> bool:
        """Return whether this machine has memory for a copy of the state of its workers."""
        from ray._common.utils import get_system_memory  # these know the limit of a container
        from ray._private.utils import get_used_memory

        free = get_system_memory() - get_used_memory()
        needed = self._bytes_to_save(engine, last) * self.local_workers // self.workers
        return bool(free > COPY_MARGIN * needed)

    def _check_space(self, engine: Any, last: Checkpoint | None) -> None:
        """Check the disk space for the next checkpoint; every worker must call it.

        Raises:
            TrainingEnd: a disk is too full, on every worker alike.
        """
        needed = self._bytes_to_save(engine, last)
        if "://" in self.folder:  # a machine stages the parts of its own workers alone
            needed = needed * self.local_workers // self.workers
        self._require_space(needed, f"a checkpoint takes about {needed / 2**30:.1f} GiB")

    def _require_space(self, needed: int, purpose: str) -> None:
        disk = checkpoints.staging(self.folder)
        disk.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(disk).free
        margins: list[Any] = [None] * self.workers
        problem = f"{disk} of {platform.node()}: {free / 2**30:.1f} GiB are free, {purpose}"
        dist.all_gather_object(margins, (free - needed, problem))
        margin, problem = min(margins)
        if margin < 0:
            raise TrainingEnd(f"{problem}; free some space; the same command resumes from the last checkpoint")

    def load(self, engine: Any, checkpoint: Checkpoint) -> None:
        """Load a checkpoint; each worker downloads its part, and each machine converts it for another number of them.

        Raises:
            TrainingEnd: a disk is too full for that, on every worker alike.
        """
        convert = checkpoint.workers != self.workers
        staged = self._staging(f"read-{ray.get_runtime_context().get_node_id()}")
        if self.local_rank == 0:
            shutil.rmtree(staged, ignore_errors=True)
        dist.barrier()
        names = files_to_load(checkpoint, self.rank, self.local_rank, self.local_workers, convert)
        needed = bytes_to_load(checkpoint, self.local_workers, convert)
        purpose = "to convert the checkpoint for another number of workers" if convert else "to load the checkpoint"
        self._require_space(needed, f"{purpose} takes about {needed / 2**30:.1f} GiB")
        download(checkpoint, names, staged)
        dist.barrier()
        if convert:
            if self.local_rank == 0:
                convert_to_universal(staged)
            dist.barrier()
        engine._config.load_universal_checkpoint = convert  # an engine may load checkpoints of both kinds
        decays = [group["weight_decay"] for group in engine.optimizer.optimizer.param_groups]
        loaded, _ = engine.load_checkpoint(str(staged), tag=TAG, load_module_strict=self.training.lora is None)
        assert loaded, f"{checkpoint.path} was not loaded"
        fix_loaded_optimizer(engine)
        for group, decay in zip(engine.optimizer.optimizer.param_groups, decays, strict=True):
            group["weight_decay"] = decay  # ZeRO-3 gives every group the settings that the first one had
        dist.barrier()
        if self.local_rank == 0:
            shutil.rmtree(staged)

    def _bytes_to_save(self, engine: Any, last: Checkpoint | None) -> int:
        trained = sum(whole_size(parameter) for parameter in engine.module.parameters() if parameter.requires_grad)
        return checkpoints.bytes_to_save(last, trained, 4 if self.training.precision == "fp32" else 2)

    def _staging(self, name: str) -> Path:
        return checkpoints.staging(self.folder) / f".{name}"

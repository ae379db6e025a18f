"""The engine's state to a checkpoint and back: each worker writes and reads its own part."""

import platform
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
import torch.distributed as dist

from factory.config import Training
from factory.storage import file_io
from factory.training import checkpoints
from factory.training.checkpoints import TAG, Checkpoint
from factory.training.deepspeed_engine import fix_loaded_optimizer


class TrainingEnd(Exception):  # noqa: N818
    """Training ends on every worker alike; the message has the reason and the remedy."""


@dataclass(frozen=True)
class CheckpointIO:
    """Saves and loads one worker's part of a checkpoint."""

    folder: str
    training: Training
    rank: int
    workers: int
    local_rank: int
    local_workers: int
    """On this machine; `workers` counts all."""

    def save(self, engine: Any, step: int, validation_loss: float | None, last: Checkpoint | None) -> Checkpoint:
        """Write a checkpoint together with all other workers, and drop those that are not kept.

        Raises:
            TrainingEnd: the disk is too full, on every worker alike.
        """
        path = checkpoints.checkpoint_path(self.folder, step)
        staged = self._staging(f"write-{self.rank}")
        shutil.rmtree(staged, ignore_errors=True)
        self._check_space(engine, last)
        if self.rank == 0:
            file_io.delete_folder(path)  # what a killed run left of it
        dist.barrier()
        try:
            (staged / TAG).mkdir(parents=True)
            exclude_frozen = self.training.lora is not None
            engine.save_checkpoint(str(staged), tag=TAG, save_latest=False, exclude_frozen_parameters=exclude_frozen)
            parts: list[Any] = [None] * self.workers
            dist.all_gather_object(parts, checkpoints.upload(staged / TAG, path))
        finally:
            shutil.rmtree(staged, ignore_errors=True)
        files = {name: size_and_hash for part in parts for name, size_and_hash in part.items()}
        saved = Checkpoint(path, step, self.workers, validation_loss, files)
        if self.rank == 0:
            checkpoints.write_manifest(saved)
            checkpoints.drop_old(self.folder, self.training.save_total_limit, self.training.export_checkpoint)
        dist.barrier()
        return saved

    def prepare(self, engine: Any, last: Checkpoint | None) -> None:
        """Delete what killed runs left unfinished, and check disk space before an hour of GPUs is spent.

        Raises:
            TrainingEnd: a disk is too full, on every worker alike.
        """
        if self.local_rank == 0:
            for left in checkpoints.staging(self.folder).glob(".write-*"):
                shutil.rmtree(left, ignore_errors=True)
        dist.barrier()
        self._check_space(engine, last)

    def _check_space(self, engine: Any, last: Checkpoint | None) -> None:
        """Check the disk space for the next checkpoint; every worker must call it.

        Raises:
            TrainingEnd: a disk is too full, on every worker alike.
        """
        sizes = [getattr(p, "ds_numel", p.numel()) for p in engine.module.parameters() if p.requires_grad]
        needed = checkpoints.bytes_to_save(last, sum(sizes))
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
        """Load a checkpoint; the first worker of each machine downloads it, and converts it for another number of them.

        Raises:
            TrainingEnd: a disk is too full for that, on every worker alike.
        """
        convert = checkpoint.workers != self.workers
        staged = self._staging(f"read-{ray.get_runtime_context().get_node_id()}")
        if self.local_rank == 0:
            shutil.rmtree(staged, ignore_errors=True)
        dist.barrier()
        needed = checkpoints.bytes_to_load(checkpoint, convert)
        purpose = "to convert the checkpoint for another number of workers" if convert else "to load the checkpoint"
        self._require_space(needed, f"{purpose} takes about {needed / 2**30:.1f} GiB")
        if self.local_rank == 0:
            checkpoints.download(checkpoint, staged)
            if convert:
                checkpoints.convert_to_universal(staged)
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

    def _staging(self, name: str) -> Path:
        return checkpoints.staging(self.folder) / f".{name}"

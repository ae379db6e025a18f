"""The engine's state to a checkpoint and back: every worker writes and reads its own part."""

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


class Stop(Exception):  # noqa: N818
    """Training ends here on every worker alike; the text says why and what to do."""


@dataclass(frozen=True)
class CheckpointIO:
    """One worker's way to the folder of checkpoints."""

    folder: str
    training: Training
    rank: int
    workers: int
    local_rank: int
    local_workers: int
    """On this machine, `workers` being those on all."""

    def save(self, engine: Any, step: int, validation_loss: float | None, last: Checkpoint | None) -> Checkpoint:
        """Write a checkpoint together with all other workers, and drop those that are not kept.

        Raises:
            Stop: the disk is too full, on every worker alike.
        """
        path = checkpoints.path_of(self.folder, step)
        staged = self._staging(f"write-{self.rank}")
        shutil.rmtree(staged, ignore_errors=True)
        self._check_room(engine, last)
        if self.rank == 0:
            file_io.delete_folder(path)  # what a killed run left of it
        dist.barrier()
        try:
            (staged / TAG).mkdir(parents=True)
            frozen_stay = self.training.lora is not None
            engine.save_checkpoint(str(staged), tag=TAG, save_latest=False, exclude_frozen_parameters=frozen_stay)
            parts: list[Any] = [None] * self.workers
            dist.all_gather_object(parts, checkpoints.upload(staged / TAG, path))
        finally:
            shutil.rmtree(staged, ignore_errors=True)
        files = {name: one for part in parts for name, one in part.items()}
        made = Checkpoint(path, step, self.workers, validation_loss, files)
        if self.rank == 0:
            checkpoints.write_manifest(made)
            checkpoints.drop_old(self.folder, self.training.save_total_limit)
        dist.barrier()
        return made

    def prepare(self, engine: Any, last: Checkpoint | None) -> None:
        """Clear away what killed runs were about to save, and check room before an hour of GPUs is spent.

        Raises:
            Stop: a disk is too full, on every worker alike.
        """
        if self.local_rank == 0:
            for left in checkpoints.staging(self.folder).glob(".write-*"):
                shutil.rmtree(left, ignore_errors=True)
        dist.barrier()
        self._check_room(engine, last)

    def _check_room(self, engine: Any, last: Checkpoint | None) -> None:
        """Check that the disks have room for the next checkpoint; every worker must call it.

        Raises:
            Stop: one has not, on every worker alike.
        """
        sizes = [getattr(p, "ds_numel", p.numel()) for p in engine.module.parameters() if p.requires_grad]
        needed = checkpoints.bytes_to_save(last, sum(sizes))
        if "://" in self.folder:  # a machine writes its own workers' parts alone
            needed = needed * self.local_workers // self.workers
        self._demand(needed, f"a checkpoint takes about {needed / 2**30:.1f} GiB")

    def _demand(self, needed: int, told: str) -> None:
        disk = checkpoints.staging(self.folder)
        disk.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(disk).free
        left: list[Any] = [None] * self.workers
        problem = f"{disk} of {platform.node()}: {free / 2**30:.1f} GiB are free, {told}"
        dist.all_gather_object(left, (free - needed, problem))
        least, problem = min(left)
        if least < 0:
            raise Stop(
                f"{problem}; free some space and run the same command again, it goes on from the last checkpoint"
            )

    def load(self, engine: Any, checkpoint: Checkpoint, convert: bool) -> None:
        """Load a checkpoint; the first worker of each machine brings it there, converted where need be.

        Raises:
            Stop: a disk has no room for that, on every worker alike.
        """
        staged = self._staging(f"read-{ray.get_runtime_context().get_node_id()}")
        if self.local_rank == 0:
            shutil.rmtree(staged, ignore_errors=True)
        dist.barrier()
        needed = checkpoints.bytes_to_load(checkpoint, convert)
        to_do = "to convert the checkpoint for another number of workers" if convert else "to load the checkpoint"
        self._demand(needed, f"{to_do} takes about {needed / 2**30:.1f} GiB")
        if self.local_rank == 0:
            checkpoints.download(checkpoint, staged)
            if convert:
                checkpoints.for_other_workers(staged)
        dist.barrier()
        loaded, _ = engine.load_checkpoint(str(staged), tag=TAG, load_module_strict=self.training.lora is None)
        assert loaded, f"{checkpoint.path} was not loaded"
        fix_loaded_optimizer(engine)
        dist.barrier()
        if self.local_rank == 0:
            shutil.rmtree(staged)

    def _staging(self, name: str) -> Path:
        return checkpoints.staging(self.folder) / f".{name}"

"""The engine's state to a checkpoint and back: every worker writes and reads its own part."""

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
import torch
import torch.distributed as dist

from factory import storage
from factory.config import Training
from factory.training import checkpoints
from factory.training.checkpoints import TAG, Checkpoint
from factory.training.zero import mend_optimizer


class Stop(Exception):  # noqa: N818
    """Training ends here on every worker alike; the text says why and what to do."""


@dataclass(frozen=True)
class Saver:
    """One worker's way to the folder of checkpoints."""

    folder: str
    training: Training
    rank: int
    workers: int
    local_rank: int

    def save(self, engine: Any, step: int, validation_loss: float | None, last: Checkpoint | None) -> Checkpoint:
        """Write a checkpoint together with all other workers, and drop those that are not kept.

        Raises:
            Stop: the disk is too full, on every worker alike.
        """
        path = checkpoints.path_of(self.folder, step)
        staged = self._staging(f"write-{self.rank}")
        shutil.rmtree(staged, ignore_errors=True)
        self._check_room(engine, staged.parent, last)
        if self.rank == 0:
            storage.delete_folder(path)  # what a killed run left of it
        dist.barrier()
        try:
            (staged / TAG).mkdir(parents=True)
            frozen_stay = self.training.lora is not None
            engine.save_checkpoint(str(staged), tag=TAG, save_latest=False, exclude_frozen_parameters=frozen_stay)
            parts: list[Any] = [None] * self.workers
            dist.all_gather_object(parts, checkpoints.put(staged / TAG, path))
        finally:
            shutil.rmtree(staged, ignore_errors=True)
        files = {name: one for part in parts for name, one in part.items()}
        made = Checkpoint(path, step, self.workers, validation_loss, files)
        if self.rank == 0:
            checkpoints.complete(made)
            checkpoints.drop_old(self.folder, self.training.keep_checkpoints)
        dist.barrier()
        return made

    def _check_room(self, engine: Any, disk: Path, last: Checkpoint | None) -> None:
        sizes = [(getattr(p, "ds_numel", p.numel()), p.requires_grad) for p in engine.module.parameters()]
        trained = sum(size for size, learns in sizes if learns)
        needed = checkpoints.needed_bytes(last, trained, sum(size for size, _ in sizes) - trained)
        free = shutil.disk_usage(disk).free
        full = torch.tensor(float(free < needed), device=engine.device)
        dist.all_reduce(full)
        if full.item():
            raise Stop(
                f"{disk}: {free / 2**30:.1f} GiB are free, a checkpoint takes about {needed / 2**30:.1f} GiB; "
                "free some space and run the same command again, it goes on from the last checkpoint"
            )

    def load(self, engine: Any, checkpoint: Checkpoint, convert: bool) -> None:
        """Load a checkpoint; the first worker of each machine brings it there, converted where need be."""
        staged = self._staging(f"read-{ray.get_runtime_context().get_node_id()}")
        if self.local_rank == 0:
            shutil.rmtree(staged, ignore_errors=True)
            checkpoints.get(checkpoint, staged)
            if convert:
                checkpoints.for_other_workers(staged)
        dist.barrier()
        loaded, _ = engine.load_checkpoint(str(staged), tag=TAG, load_module_strict=self.training.lora is None)
        assert loaded, f"{checkpoint.path} was not loaded"
        mend_optimizer(engine)
        dist.barrier()
        if self.local_rank == 0:
            shutil.rmtree(staged)

    def _staging(self, name: str) -> Path:
        """A local folder: beside the checkpoints where they are local, so that files are renamed and linked."""
        remote = "://" in self.folder
        base = Path(tempfile.gettempdir()) / "character-factory" if remote else Path(self.folder)
        base.mkdir(parents=True, exist_ok=True)
        return base / f".{name}"

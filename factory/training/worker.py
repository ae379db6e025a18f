"""What each training process does: Ray Train starts it, DeepSpeed parts the model among them."""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import torch
import torch.distributed as dist

from factory.config import Training
from factory.inference import model_files
from factory.runtime.shutdown import StopFlag
from factory.storage.tables import Table
from factory.training import checkpoints, data
from factory.training.checkpoint_io import CheckpointIO, Stop
from factory.training.data_order import SampleOrder
from factory.training.deepspeed_engine import consolidated_weights, join_workers, learning_rate, make_engine, use_cores
from factory.training.export import export_model
from factory.training.metrics_log import keep_part
from factory.training.model import FILLER, PackedLoss, batch_of, load_model
from factory.training.pack_step import Packed
from factory.training.preemption import StopSignal

VALIDATION = pa.schema(
    [pa.field("dialogue_id", pa.string()), pa.field("loss", pa.float64()), pa.field("tokens", pa.int64())]
)
"""A validation dialogue: its loss summed over its learned tokens (nats), and how many they are."""


@dataclass(frozen=True)
class Setup:
    """What a worker is told."""

    training: Training
    base_model: str
    """As `Located.pinned` has it."""
    seed: int
    on_gpu: bool
    checkpoints: str
    train: Packed
    validation: Packed
    order: SampleOrder
    model_folder: str
    card: str
    """The text of the exported model's README."""
    fingerprint: str


def work(config: dict[str, Any]) -> None:
    """Train from the newest checkpoint to the last step, and export the model."""
    worker = Worker(config["setup"], config["events"], config["gate"])
    try:
        worker.train()
    except Stop as reason:
        worker.tell("failed", message=str(reason))


class Worker:
    """One rank of the group."""

    def __init__(self, setup: Setup, events: Any, gate: StopFlag) -> None:
        import ray.train.torch

        self.setup, self.events = setup, events
        self.told: list[dict[str, Any]] = []
        self.training, self.order = setup.training, setup.order
        context = ray.train.get_context()
        self.rank, self.workers = context.get_world_rank(), context.get_world_size()
        self.wishes = StopSignal(gate, self.rank, self._sum)
        use_cores(context.get_local_world_size())
        join_workers(setup.on_gpu)
        self.device = ray.train.torch.get_device() if setup.on_gpu else torch.device("cpu")
        if setup.on_gpu:
            torch.cuda.set_device(self.device)
        self.saver = CheckpointIO(
            setup.checkpoints, self.training, self.rank, self.workers, context.get_local_rank(),
            context.get_local_world_size(),
        )  # fmt: skip
        self.folder = model_files.fetch(setup.base_model)
        self.last = checkpoints.newest(setup.checkpoints)

    def train(self) -> None:
        """All steps that are left.

        Raises:
            Stop: it cannot go on, on every worker alike.
        """
        import ray.train

        self.engine, self.parameters = self._make_engine()
        first = self.last.step if self.last else 0
        self.validation = list(
            data.validation_rows(self.setup.validation, self.training.validation_sequences, self.rank, self.workers)
        )
        self.tell("started", step=first, steps=self.order.steps, workers=self.workers, **self._engine_kind())
        if first < self.order.steps:
            self.saver.prepare(self.engine, self.last)
        if first == 0:
            self._validate(0)
        shard = ray.train.get_dataset_shard(data.name_of(self.rank))
        for step, rows in self.order.batches(shard.iter_rows(), first):
            wish = self.wishes.heard()
            if wish and step > (self.last.step if self.last else 0):
                self._save(step, None)  # a spot machine has half a minute
            if wish == "stop":
                self.tell("stopped", step=step)
                return
            self._step(step, rows)
            done = step + 1
            if done == self.order.steps or done % self.training.save_steps == 0:
                self._save(done, self._validate(done))
            elif done % self.training.eval_steps == 0:
                self._validate(done)
        weights = consolidated_weights(self.engine, trained_only=self.training.lora is not None)
        if weights is not None:
            export_model(weights, self.folder, self.setup)
        dist.barrier()

    def _save(self, done: int, validation_loss: float | None) -> None:
        if self.rank == 0:
            # Before the checkpoint: a killed driver may not have written what it was told.
            keep_part(self.setup.checkpoints, done, self.told)
            self.told.clear()
        self.last = self.saver.save(self.engine, done, validation_loss, self.last)
        self.tell("saved", step=done)

    def tell(self, kind: str, **told: Any) -> None:
        """Let the driver know of something; rank 0 speaks for all."""
        if self.rank == 0:
            self.events.put({"kind": kind, **told})
            if kind in ("step", "validation"):
                self.told.append({"kind": kind, **told})

    def _make_engine(self) -> tuple[Any, int]:
        torch.manual_seed(self.setup.seed)
        model = load_model(self.folder, self.training, self.setup.seed)
        parameters = model.num_parameters()
        other_workers = self.last is not None and self.last.workers != self.workers
        engine = make_engine(PackedLoss(model), self.training, self.setup.on_gpu, universal=other_workers)
        if self.last:
            self.saver.load(engine, self.last, other_workers)
        torch.manual_seed(self.setup.seed + self.rank)
        return engine, parameters

    def _engine_kind(self) -> dict[str, Any]:
        return {
            "engine": type(self.engine).__name__,
            "optimizer": type(self.engine.optimizer).__name__,
            "zero_stage": self.engine.zero_optimization_stage(),
            "parameters": self.parameters,
        }

    def _step(self, step: int, rows: Sequence[Mapping[str, Any]]) -> None:
        started = time.monotonic()
        share = self.training.global_batch_size // self.workers
        batches = [batch_of(dict(row), self.device)[0] for row in rows]
        mine = [sum(len(b["labels"]) for b in batches), sum(b["input_ids"].numel() for b in batches)]
        learned, tokens = self._sum(mine)
        for group in self.engine.optimizer.param_groups:
            group["lr"] = learning_rate(self.training, step, self.order.steps)
        # The mean over the learned tokens of the whole batch: DeepSpeed takes the mean over
        # micro-batches and workers, which have not the same number of them.
        scale = share * self.workers / learned
        filler = batch_of(FILLER, self.device)[0]
        total = torch.zeros((), dtype=torch.float64, device=self.device)  # read once a step: a GPU waits for it
        for number in range(share):
            losses = self.engine(**(batches[number] if number < len(batches) else filler))
            weighted = losses.sum() * (scale if number < len(batches) else 0)
            self.engine.backward(weighted)
            self.engine.step()
            if number < len(batches):
                total += losses.detach().sum()
        loss = self._sum([float(total)])[0] / learned
        grad_norm = float(self.engine.get_global_grad_norm() or 0)
        self._check(step, loss, grad_norm)
        seconds = time.monotonic() - started
        self.tell(
            "step",
            step=step + 1,
            loss=loss,
            learning_rate=learning_rate(self.training, step, self.order.steps),
            grad_norm=grad_norm,
            tokens=int(tokens),
            seconds=seconds,
            tokens_per_second=tokens / seconds,
            **self._utilisation(tokens / seconds),
        )

    def _sum(self, numbers: Sequence[float]) -> list[float]:
        values = torch.tensor(list(numbers), dtype=torch.float64, device=self.device)
        dist.all_reduce(values)
        return list(values.tolist())

    def _check(self, step: int, loss: float, grad_norm: float) -> None:
        guessing = math.log(self.engine.module.model.config.vocab_size)
        if loss <= guessing + 1 and math.isfinite(grad_norm):
            return
        what = f"loss is {loss:.1f}, where guessing has {guessing:.1f}"
        if not math.isfinite(loss + grad_norm):
            what = "loss is NaN" if not math.isfinite(loss) else "gradient is NaN"
        kept = f"the checkpoint of step {self.last.step} stays" if self.last else "there is no checkpoint yet"
        raise Stop(
            f"training: step {step + 1} went wrong, its {what}; {kept}; "
            f"lower training.learning_rate ({self.training.learning_rate:g}) or training.max_grad_norm"
        )

    def _utilisation(self, tokens_per_second: float) -> dict[str, float]:
        """Model FLOPs utilisation: 6 floating-point operations a parameter and token, of what the GPUs could do."""
        if not self.setup.on_gpu:
            return {}
        name = torch.cuda.get_device_name()
        peak = next((flops for key, flops in PEAK_FLOPS.items() if key in name), None)
        return {"mfu": 6 * self.parameters * tokens_per_second / (peak * self.workers)} if peak else {}

    def _validate(self, step: int) -> float:
        """Validation loss a learned token; each dialogue's stands in a file beside the checkpoints."""
        rounds = int(-(-min(self.training.validation_sequences, sum(self.setup.validation.shards.values()))
                       // self.workers))  # fmt: skip
        found: list[dict[str, Any]] = []
        self.engine.eval()
        with torch.no_grad():
            for number in range(rounds):
                row: dict[str, Any] = self.validation[number] if number < len(self.validation) else FILLER
                batch, dialogue = batch_of(row, self.device)
                losses = self.engine(**batch).double().cpu().numpy()
                if row is not FILLER:
                    count = len(row["lengths"])
                    sums = np.bincount(dialogue, weights=losses, minlength=count)
                    learned = np.bincount(dialogue, minlength=count)
                    found += [
                        {"dialogue_id": name, "loss": float(loss), "tokens": int(tokens)}
                        for name, loss, tokens in zip(row["dialogue_ids"], sums, learned, strict=True)
                    ]
        self.engine.train()
        parts: list[Any] = [None] * self.workers
        dist.all_gather_object(parts, found)
        rows = sorted((row for part in parts for row in part), key=lambda row: row["dialogue_id"])
        mean = sum(row["loss"] for row in rows) / sum(row["tokens"] for row in rows)
        if self.rank == 0:
            losses_of_all = pa.Table.from_pylist(rows, schema=VALIDATION)
            Table(self.setup.checkpoints, "validation").write_arrow(f"step-{step:08}", losses_of_all)
        self.tell("validation", step=step, loss=mean, perplexity=math.exp(mean), dialogues=len(rows))
        return float(mean)


PEAK_FLOPS = {"H200": 989e12, "H100": 989e12, "A100": 312e12, "L40S": 362e12, "L4": 121e12, "A10G": 70e12}
"""Dense bfloat16 operations a second, from the vendor's data sheets."""

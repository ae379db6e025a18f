"""The training loop of each worker: Ray Train starts it, DeepSpeed shards the model over the workers."""

import math
import time
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.distributed as dist

from factory.inference import model_files
from factory.runtime.shutdown import StopFlag
from factory.training import checkpoints, data
from factory.training.checkpoint_io import CheckpointIO, TrainingEnd
from factory.training.deepspeed_engine import build_engine, consolidated_weights, join_workers, learning_rate, use_cores
from factory.training.metrics_log import write_part
from factory.training.model import FILLER, PackedLoss, build_batch, load_model
from factory.training.model_export import export_model
from factory.training.preemption import StopSignal
from factory.training.validation import validate
from factory.training.worker_setup import WorkerSetup

PEAK_FLOPS = {"H200": 989e12, "H100": 989e12, "A100": 312e12, "L40S": 362e12, "L4": 121e12, "A10G": 70e12}
"""Dense bfloat16 operations per second, from the vendor's data sheets."""


def work(config: dict[str, Any]) -> None:
    """Train from the newest checkpoint to the last step, and export the model."""
    worker = TrainingWorker(config["setup"], config["events"], config["stop_flag"])
    try:
        worker.train()
    except TrainingEnd as reason:
        worker.report("failed", message=str(reason))


class TrainingWorker:
    """One rank of the group."""

    def __init__(self, setup: WorkerSetup, events: Any, stop_flag: StopFlag) -> None:
        import ray.train.torch

        self.setup, self.events = setup, events
        self.unsaved: list[dict[str, Any]] = []
        """Metrics since the last checkpoint."""
        self.training, self.order = setup.training, setup.order
        context = ray.train.get_context()
        self.rank, self.workers = context.get_world_rank(), context.get_world_size()
        self.stop_signal = StopSignal(stop_flag, self.rank, self._sum)
        use_cores(context.get_local_world_size())
        join_workers(setup.on_gpu)
        self.device = ray.train.torch.get_device() if setup.on_gpu else torch.device("cpu")
        if setup.on_gpu:
            torch.cuda.set_device(self.device)
        self.checkpoint_io = CheckpointIO(
            setup.checkpoints, self.training, self.rank, self.workers, context.get_local_rank(),
            context.get_local_world_size(),
        )  # fmt: skip
        self.folder = model_files.fetch(setup.base_model)
        self.last = checkpoints.newest(setup.checkpoints)

    def train(self) -> None:
        """Run the remaining steps, and export the model.

        Raises:
            TrainingEnd: it cannot go on, on every worker alike.
        """
        import ray.train

        self.engine, self.parameters = self._build_engine()
        first = self.last.step if self.last else 0
        self.validation = list(
            data.validation_rows(self.setup.validation, self.training.validation_sequences, self.rank, self.workers)
        )
        self.report("started", step=first, steps=self.order.steps, workers=self.workers, **self._engine_kind())
        if first < self.order.steps:
            self.checkpoint_io.prepare(self.engine, self.last)
        if first == 0:
            self._validate(0)
        shard = ray.train.get_dataset_shard(data.dataset_name(self.rank))
        for step, rows in self.order.batches(shard.iter_rows(), first):
            signal = self.stop_signal.poll()
            if signal and step > (self.last.step if self.last else 0):
                self._save(step, None)  # a spot machine has half a minute left
            if signal == "stop":
                self.report("stopped", step=step)
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
            # Before the checkpoint: a killed driver may not have written the metrics that it received.
            write_part(self.setup.checkpoints, done, self.unsaved)
            self.unsaved.clear()
        self.last = self.checkpoint_io.save(self.engine, done, validation_loss, self.last)
        self.report("saved", step=done)

    def report(self, kind: str, **fields: Any) -> None:
        """Send an event to the driver, from rank 0 alone."""
        if self.rank == 0:
            self.events.put({"kind": kind, **fields})
            if kind in ("step", "validation"):
                self.unsaved.append({"kind": kind, **fields})

    def _build_engine(self) -> tuple[Any, int]:
        torch.manual_seed(self.setup.seed)
        model = load_model(self.folder, self.training, self.setup.seed)
        parameters = model.num_parameters()
        convert = self.last is not None and self.last.workers != self.workers
        engine = build_engine(PackedLoss(model), self.training, self.setup.on_gpu, universal=convert)
        if self.last:
            self.checkpoint_io.load(engine, self.last, convert)
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
        per_worker = self.training.global_batch_size // self.workers
        batches = [build_batch(dict(row), self.device)[0] for row in rows]
        own = [sum(len(b["labels"]) for b in batches), sum(b["input_ids"].numel() for b in batches)]
        learned, tokens = self._sum(own)
        for group in self.engine.optimizer.param_groups:
            group["lr"] = learning_rate(self.training, step, self.order.steps)
        # The mean over the learned tokens of the whole batch: DeepSpeed takes the mean over
        # micro-batches and workers, which differ in their number.
        scale = per_worker * self.workers / learned
        filler = build_batch(FILLER, self.device)[0]
        total = torch.zeros((), dtype=torch.float64, device=self.device)  # read once per step, as a GPU waits for it
        for number in range(per_worker):
            losses = self.engine(**(batches[number] if number < len(batches) else filler))
            weighted = losses.sum() * (scale if number < len(batches) else 0)
            self.engine.backward(weighted)
            self.engine.step()
            if number < len(batches):
                total += losses.detach().sum()
        loss = self._sum([float(total)])[0] / learned
        grad_norm = float(self.engine.get_global_grad_norm() or 0)
        self._check_step(step, loss, grad_norm)
        seconds = time.monotonic() - started
        self.report(
            "step",
            step=step + 1,
            loss=loss,
            learning_rate=learning_rate(self.training, step, self.order.steps),
            grad_norm=grad_norm,
            tokens=int(tokens),
            seconds=seconds,
            tokens_per_second=tokens / seconds,
            **self._utilization(tokens / seconds),
        )

    def _sum(self, numbers: Sequence[float]) -> list[float]:
        values = torch.tensor(list(numbers), dtype=torch.float64, device=self.device)
        dist.all_reduce(values)
        return list(values.tolist())

    def _check_step(self, step: int, loss: float, grad_norm: float) -> None:
        uniform = math.log(self.engine.module.model.config.vocab_size)
        if loss <= uniform + 1 and math.isfinite(grad_norm):
            return
        what = f"loss is {loss:.1f}, and that of a uniform guess {uniform:.1f}"
        if not math.isfinite(loss + grad_norm):
            what = "loss is NaN" if not math.isfinite(loss) else "gradient is NaN"
        kept = f"the checkpoint of step {self.last.step} stays" if self.last else "there is no checkpoint yet"
        raise TrainingEnd(
            f"training: step {step + 1} went wrong, its {what}; {kept}; "
            f"lower training.learning_rate ({self.training.learning_rate:g}) or training.max_grad_norm"
        )

    def _utilization(self, tokens_per_second: float) -> dict[str, float]:
        """Return the model FLOPs utilization: 6 operations per parameter and token, relative to the GPUs' peak."""
        if not self.setup.on_gpu:
            return {}
        name = torch.cuda.get_device_name()
        peak = next((flops for key, flops in PEAK_FLOPS.items() if key in name), None)
        return {"mfu": 6 * self.parameters * tokens_per_second / (peak * self.workers)} if peak else {}

    def _validate(self, step: int) -> float:
        """Return the validation loss per learned token."""
        loss, dialogues = validate(self.engine, self.validation, self.setup, self.device, self.workers, step)
        self.report("validation", step=step, loss=loss, perplexity=math.exp(loss), dialogues=dialogues)
        return loss

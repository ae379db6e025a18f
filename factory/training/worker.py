"""The training loop of each worker: Ray Train starts it, DeepSpeed shards the model over the workers."""

import math
import time
from collections.abc import Mapping, Sequence
from typing import Any

import ray
import torch
import torch.distributed as dist

from factory.errors import ConfigError
from factory.inference import model_files
from factory.runtime.shutdown import StopFlag
from factory.training import data
from factory.training.bad_steps import BadSteps
from factory.training.checkpointing import checkpoints
from factory.training.checkpointing.checkpoint_io import CheckpointIO, Saved, TrainingEnd
from factory.training.deepspeed_engine import build_engine, join_workers, learning_rate, use_cores
from factory.training.dialogue import tokenizer_for, turn_tokens
from factory.training.kernels import uses_liger
from factory.training.metrics_log import read_parts
from factory.training.model import load_for_chats, packed_loss
from factory.training.parameter_size import whole_size
from factory.training.partitioned_loading import partitioned
from factory.training.preemption import StopSignal
from factory.training.sample_replies import choose_prompts, describe, write_replies
from factory.training.speed import count_operations, peak_flops
from factory.training.train_step import run_step, spoiled_dialogues, sum_over_workers
from factory.training.training_facts import RESUMABLE, is_stalled
from factory.training.validation import validate
from factory.training.worker_setup import WorkerSetup

SAMPLES_ON_GPU = 4
KEPT_EVENTS = ("settings", "step", "skipped", "validation", "samples")
"""Kinds of events that are metrics."""


def work(config: dict[str, Any]) -> None:
    """Train from the newest checkpoint to the last step."""
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
        self.ready: float | None = None
        """When the worker was done with the last step, and with the validation and the checkpoint after it."""
        self.training, self.order = setup.training, setup.order
        context = ray.train.get_context()
        self.rank, self.workers = context.get_world_rank(), context.get_world_size()
        use_cores(context.get_local_world_size())
        join_workers(setup.on_gpu)
        self.device = ray.train.torch.get_device() if setup.on_gpu else torch.device("cpu")
        if setup.on_gpu:
            torch.cuda.set_device(self.device)
        self.stop_signal = StopSignal(
            stop_flag, self.rank, lambda numbers: sum_over_workers(numbers, self.device), self.training.save_minutes
        )
        self.checkpoint_io = CheckpointIO(
            setup.checkpoints, self.training, self.rank, self.workers, context.get_local_rank(),
            context.get_local_world_size(),
        )  # fmt: skip
        self.folder = model_files.fetch(setup.base_model)
        self.last = checkpoints.newest(setup.checkpoints)
        """The newest whole checkpoint."""
        self.saved_step = self.last.step if self.last else 0
        """That of the newest checkpoint, which may still be written."""

    def train(self) -> None:
        """Run the remaining steps.

        Raises:
            TrainingEnd: it cannot go on, on every worker alike.
        """
        self.engine = self._build_engine()
        first = self.last.step if self.last else 0
        self.validation = list(
            data.validation_rows(self.setup.validation, self.training.validation_sequences, self.rank, self.workers)
        )
        samples = self.training.sample_replies
        count = (SAMPLES_ON_GPU if self.setup.on_gpu else 0) if samples is None else samples
        self.prompts = choose_prompts(self.validation, count)
        self.report("started", step=first, steps=self.order.steps, workers=self.workers,
                    node_id=ray.get_runtime_context().get_node_id(), **self._engine_kind())  # fmt: skip
        self.validations = self._earlier_validations(first)
        is_over = first == self.order.steps or self._is_stalled()
        done = first if is_over else self._run_steps(first)
        self._complete(self.checkpoint_io.finish())
        self.checkpoint_io.close()
        if done is not None:
            self.report("ended", step=done, stopped_early=done < self.order.steps)

    def _run_steps(self, first: int) -> int | None:
        """Train to the last step, or until validations bring no gain; return that step, None on a stop request."""
        import ray.train

        self.checkpoint_io.prepare(self.engine, self.last)
        self.report("settings", step=first + 1, **{name: getattr(self.training, name) for name in RESUMABLE})
        if first == 0:
            self._validate(0)
        vocabulary = self.engine.module.model.config.get_text_config().vocab_size
        self.bad = BadSteps(self.training.max_skipped_steps, math.log(vocabulary))
        shard = ray.train.get_dataset_shard(data.dataset_name(self.rank))
        is_due = False
        self.ready = None  # starting the pipeline of data is no waiting for it
        for step, rows in self.order.batches(shard.iter_rows(), first):
            self._complete(self.checkpoint_io.poll())
            signal = self.stop_signal.poll()
            if signal and step > self.saved_step and not self.bad.in_a_row:
                self._save(step, None)
            if signal == "leave":
                self._complete(self.checkpoint_io.finish())  # before the node is gone
            if signal == "stop":
                self.report("stopped", step=step)
                return None
            self._step(step, rows)
            done = step + 1
            is_due = is_due or self._saves_at(done)
            loss = self._validate(done) if is_due or done % self.training.eval_steps == 0 else None
            is_last = done == self.order.steps or self._is_stalled()
            # Not between steps that go wrong: a broken model would replace one of the checkpoints from before.
            if is_last or (is_due and not self.bad.in_a_row):
                self._save(done, loss)
                is_due = False
            if is_last:
                return done
        raise AssertionError("the last step ends the loop")

    def _saves_at(self, done: int) -> bool:
        return done in (self.order.steps, self.training.export_step) or done % self.training.save_steps == 0

    def _earlier_validations(self, first: int) -> list[dict[str, Any]]:
        """Return the metrics of the validations until the checkpoint; rank 0 reads them for all."""
        found: list[Any] = [None]
        if self.rank == 0:
            parts = read_parts(self.setup.checkpoints)
            by_step = {row["step"]: row for row in parts if row["kind"] == "validation" and row["step"] <= first}
            found = [[by_step[step] for step in sorted(by_step)]]
        dist.broadcast_object_list(found)
        return list(found[0])

    def _is_stalled(self) -> bool:
        return is_stalled(self.validations, self.training.early_stopping_patience)

    def _save(self, done: int, validation_loss: float | None) -> None:
        self._complete(self.checkpoint_io.finish())  # one copy at a time is in memory
        self.checkpoint_io.begin(self.engine, done, validation_loss, self.last, self.unsaved)
        self.saved_step, self.unsaved = done, []
        self.stop_signal.count_save()
        self.ready = time.monotonic()

    def _complete(self, saved: Saved | None) -> None:
        if saved:
            self.last = saved.checkpoint
            self.report("saved", step=self.last.step, blocked_seconds=saved.blocked_seconds, seconds=saved.seconds,
                        in_background=saved.in_background)  # fmt: skip

    def report(self, kind: str, **fields: Any) -> None:
        """Send an event to the driver, from rank 0 alone; a number that is not finite is None."""
        if self.rank == 0:
            event = {name: None if _is_no_number(value) else value for name, value in fields.items()}
            self.events.put({"kind": kind, **event})
            if kind in KEPT_EVENTS:
                self.unsaved.append({"kind": kind, **event})

    def _build_engine(self) -> Any:
        torch.manual_seed(self.setup.seed)
        tokens = turn_tokens(self.setup.base_model, self.training)
        try:
            with partitioned(self.training, self.setup.on_gpu):
                model, rows = load_for_chats(self.folder, self.training, self.setup.seed, tokens)
            module = packed_loss(model, self.training)
        except ConfigError as problem:  # another attempt would meet it too
            raise TrainingEnd(str(problem)) from None
        self.rows = {f"{what}_tokens": self._texts_of(ids) for what, ids in rows.items()}
        self.parameters, self.operations = sum(map(whole_size, model.parameters())), count_operations(model)
        engine = build_engine(module, self.training, self.setup.on_gpu)
        if self.last:
            self.checkpoint_io.load(engine, self.last)
        torch.manual_seed(self.setup.seed + self.rank)
        return engine

    def _texts_of(self, tokens: list[int]) -> list[str]:
        return list(tokenizer_for(self.setup.base_model, self.training).token_texts(tokens))

    def _engine_kind(self) -> dict[str, Any]:
        return {
            "engine": type(self.engine).__name__,
            "optimizer": type(self.engine.optimizer).__name__,
            "zero_stage": self.engine.zero_optimization_stage(),
            "parameters": self.parameters,
            "liger": uses_liger(self.training, self.engine.module.model.config.model_type),
            "fused_loss": self.engine.module.fused is not None,
            **self.rows,
        }

    def _step(self, step: int, rows: Sequence[Mapping[str, Any]]) -> None:
        # From the end of the step before: waiting for data counts.
        started = self.ready or time.monotonic()
        rate = learning_rate(self.training, step, self.order.steps)
        result, losses = run_step(self.engine, rows, self.training, rate)
        self.bad.count(result.loss, result.is_applied)
        spoiled = spoiled_dialogues(rows, losses) if self.bad.in_a_row else []
        self.ready = time.monotonic()
        seconds = self.ready - started
        self.report(
            "step" if result.is_applied else "skipped",
            step=step + 1,
            loss=result.loss,
            learning_rate=rate,
            grad_norm=result.grad_norm,
            tokens=result.tokens,
            seconds=seconds,
            tokens_per_second=result.tokens / seconds,
            **self._utilization(result.tokens, result.learned, seconds),
            **({"dialogues": spoiled} if spoiled else {}),
        )
        if self.bad.are_too_many:
            self._complete(self.checkpoint_io.finish())
            kept = f"the checkpoint of step {self.last.step} stays" if self.last else "there is no checkpoint yet"
            raise TrainingEnd(
                f"training: {self.bad.explain(step + 1, result.loss, result.is_applied, spoiled)}; {kept}; lower "
                f"training.learning_rate ({self.training.learning_rate:g}) or training.max_grad_norm, with which the "
                f"same command goes on, or raise training.max_skipped_steps ({self.training.max_skipped_steps})"
            )

    def _utilization(self, tokens: int, learned: int, seconds: float) -> dict[str, float]:
        """Return the model FLOPs utilization, relative to the GPUs' peak."""
        peak = peak_flops(torch.cuda.get_device_name()) if self.setup.on_gpu else None
        return {"mfu": self.operations.utilization(tokens, learned, seconds, peak * self.workers)} if peak else {}

    def _validate(self, step: int) -> float | None:
        """Return the validation loss per learned token; None if it is not finite."""
        loss, dialogues = validate(self.engine, self.validation, self.setup, self.device, self.workers, step)
        perplexity = math.exp(min(loss, 700)) if math.isfinite(loss) else loss  # of more than 709 it overflows
        self.report("validation", step=step, loss=loss, perplexity=perplexity, dialogues=dialogues)
        kept = loss if math.isfinite(loss) else None
        self.validations.append({"step": step, "loss": kept, "dialogues": dialogues})
        self._sample(step)
        self.ready = time.monotonic()
        return kept

    def _sample(self, step: int) -> None:
        """Report what the model says to the held-out characters."""
        if self.prompts:
            tokenizer = tokenizer_for(self.setup.base_model, self.training)
            replies = write_replies(self.engine, self.prompts, tokenizer.end_of_turn, self.device)
            samples = [describe(*each, tokenizer) for each in zip(self.prompts, replies, strict=True)]
            self.report("samples", step=step, samples=samples)


def _is_no_number(value: Any) -> bool:
    return isinstance(value, float) and not math.isfinite(value)

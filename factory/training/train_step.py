"""One optimizer step of all workers: its loss, its gradient norm, and the dialogues that spoiled it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.distributed as dist

from factory.config import Training
from factory.training.model import FILLER, build_batch
from factory.training.packing import find_targets


@dataclass(frozen=True)
class StepResult:
    """The same on all workers."""

    loss: float
    """Per learned token of the whole batch (nats)."""
    grad_norm: float
    tokens: int
    learned: int
    is_applied: bool
    """False if the gradient was not finite: DeepSpeed then leaves weights and optimizer state as they are."""


def run_step(
    engine: Any, rows: Sequence[Mapping[str, Any]], training: Training, rate: float
) -> tuple[StepResult, list[torch.Tensor]]:
    """Train on a batch; every worker must call it.

    Args:
        engine: of DeepSpeed.
        rows: this worker's packed sequences of the batch.
        training: the settings.
        rate: the learning rate.

    Returns:
        The result, and the losses of each of the rows, of shape (learned tokens,).
    """
    device, workers = engine.device, dist.get_world_size()
    per_worker = training.global_batch_size // workers
    batches = [build_batch(dict(row), device)[0] for row in rows]
    own = [sum(len(b["labels"]) for b in batches), sum(b["input_ids"].numel() for b in batches)]
    learned, tokens = sum_over_workers(own, device)
    for group in engine.optimizer.param_groups:
        group["lr"] = rate
    # The mean over the learned tokens of the whole batch: DeepSpeed takes the mean over
    # micro-batches and workers, which differ in their number.
    scale = per_worker * workers / learned
    filler = build_batch(FILLER, device)[0]
    found = []
    for number in range(per_worker):
        losses = engine(**(batches[number] if number < len(batches) else filler))
        weighted = losses.sum() * (scale if number < len(batches) else 0)
        engine.backward(weighted)
        engine.step()
        if number < len(batches):
            found.append(losses.detach())
    total = float(sum(losses.sum(dtype=torch.float64) for losses in found))  # read once, as a GPU waits for it
    loss = sum_over_workers([total], device)[0] / learned
    norm = float(engine.get_global_grad_norm() or 0)
    return StepResult(loss, norm, int(tokens), int(learned), engine.was_step_applied()), found


def spoiled_dialogues(rows: Sequence[Mapping[str, Any]], losses: Sequence[torch.Tensor]) -> list[str]:
    """Return the dialogues of a batch whose loss is not finite, or all if only a gradient was not; in order of the ids.

    Every worker must call it, with what it gave to `run_step` and got from it.
    """
    own = [
        (name, is_finite)
        for row, values in zip(rows, losses, strict=True)
        for name, is_finite in zip(row["dialogue_ids"], _finite_segments(row, values), strict=True)
    ]
    parts: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(parts, own)
    everyone = [each for part in parts for each in part]
    return sorted({name for name, is_finite in everyone if not is_finite} or {name for name, _ in everyone})


def _finite_segments(row: Mapping[str, Any], losses: torch.Tensor) -> list[bool]:
    ids, learned = np.asarray(row["input_ids"], np.int64), np.asarray(row["loss_mask"], bool)
    _, segment = find_targets(ids, learned, row["lengths"])
    bad = segment[~torch.isfinite(losses).cpu().numpy()]
    return [number not in bad for number in range(len(row["lengths"]))]


def sum_over_workers(numbers: Sequence[float], device: torch.device) -> list[float]:
    """Return each number summed over all workers; every worker must call it."""
    values = torch.tensor(list(numbers), dtype=torch.float64, device=device)
    dist.all_reduce(values)
    return list(values.tolist())

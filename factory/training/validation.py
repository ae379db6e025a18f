"""Validation: the loss of each validation dialogue, in a file beside the checkpoints."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import torch
import torch.distributed as dist

from factory.storage.tables import Table
from factory.training.model import FILLER, build_batch
from factory.training.worker_setup import WorkerSetup

VALIDATION_SCHEMA = pa.schema(
    [pa.field("dialogue_id", pa.string()), pa.field("loss", pa.float64()), pa.field("tokens", pa.int64())]
)
"""A validation dialogue: its loss summed over its learned tokens (nats), and the number of these tokens."""


def validate(
    engine: Any, own_rows: Sequence[dict[str, Any]], setup: WorkerSetup, device: torch.device, workers: int, step: int
) -> tuple[float, int]:
    """Return the validation loss per learned token, and the number of dialogues; every worker must call it.

    Args:
        engine: of DeepSpeed.
        own_rows: this worker's packed sequences.
        setup: the worker's.
        device: of the engine.
        workers: number of workers.
        step: names the file that rank 0 writes.
    """
    sequences = min(setup.training.validation_sequences, sum(setup.validation.shards.values()))
    found: list[dict[str, Any]] = []
    engine.eval()
    with torch.no_grad():
        for number in range(-(-sequences // workers)):
            row: dict[str, Any] = own_rows[number] if number < len(own_rows) else FILLER
            batch, segment = build_batch(row, device)
            losses = engine(**batch).double().cpu().numpy()
            if row is not FILLER:
                count = len(row["lengths"])
                sums = np.bincount(segment, weights=losses, minlength=count)
                learned = np.bincount(segment, minlength=count)
                found += [
                    {"dialogue_id": name, "loss": float(loss), "tokens": int(tokens)}
                    for name, loss, tokens in zip(row["dialogue_ids"], sums, learned, strict=True)
                ]
    engine.train()
    parts: list[Any] = [None] * workers
    dist.all_gather_object(parts, found)
    by_dialogue = sum_by_dialogue([row for part in parts for row in part])
    if dist.get_rank() == 0:
        Table(setup.checkpoints, "validation").write_arrow(f"step-{step:08}", by_dialogue)
    loss, tokens = (sum(by_dialogue[name].to_pylist()) for name in ("loss", "tokens"))
    return loss / tokens, by_dialogue.num_rows


def sum_by_dialogue(segments: list[dict[str, Any]]) -> pa.Table:
    """Return a row per dialogue, in order of the ids: the sums of its segments, in whatever sequences they are."""
    rows: dict[str, dict[str, Any]] = {}
    for segment in segments:
        name = segment["dialogue_id"]
        before = rows.get(name, {"loss": 0.0, "tokens": 0})
        rows[name] = segment | {key: before[key] + segment[key] for key in ("loss", "tokens")}
    return pa.Table.from_pylist([rows[name] for name in sorted(rows)], schema=VALIDATION_SCHEMA)

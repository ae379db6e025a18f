"""Runs of the training worker itself, without Ray: a forked process per worker, over gloo.

Token 63 makes the loss of a dialogue NaN, token 62 its gradient infinite.

python -m tests.integration.worker_runs FOLDER SCENARIO... prints a line of JSON for each scenario.
"""

import json
import multiprocessing
import os
import random
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import deepspeed  # noqa: F401  # once, and not in each fork
import pyarrow as pa
import ray
import ray.train
import torch
import torch.distributed as dist
from transformers import LlamaConfig, LlamaForCausalLM

from factory.config import Training
from factory.errors import ConfigError
from factory.storage.tables import Table
from factory.training import data, worker
from factory.training.checkpointing import checkpoint_io, checkpoint_writer, checkpoints
from factory.training.checkpointing.checkpoint_weights import checkpoint_weights
from factory.training.data_order import SampleOrder
from factory.training.metrics_log import read_parts
from factory.training.model import PackedLoss
from factory.training.pack_step import PACKED_SCHEMA, PackedTable
from factory.training.training_facts import setting_changes
from factory.training.worker_setup import WorkerSetup

TOKENS, ROWS, BATCH, PROMPT = 12, 32, 4, 3
STEPS = ROWS // BATCH
BASE = "WORKER_RUNS_BASE"
KILLS, SLOW_S = 10, 0.15
PLAIN, NAN_LOSS, INFINITE_GRADIENT = 0, 63, 62


class Shard:
    """What a worker reads, without Ray Data."""

    def __init__(self, setup: WorkerSetup, rank: int, workers: int) -> None:
        self.setup, self.rank, self.workers = setup, rank, workers

    def iter_rows(self) -> Iterator[dict[str, Any]]:
        newest = checkpoints.newest(self.setup.checkpoints)
        table, first = self.setup.train, newest.step if newest else 0
        for visit in self.setup.order.visits():
            names = list(table.shards)
            yield from data._read(table.table, names, self.setup.order, self.rank, self.workers, first, visit)


class StopAt:
    """A stop flag that is set before a step (from 0); None: never."""

    def __init__(self, first: int, step: int | None) -> None:
        self.polls, self.step = first, step

    def is_set(self) -> bool:
        self.polls += 1
        return self.step is not None and self.polls > self.step


def poisoned(forward: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
    def loss(self: PackedLoss, input_ids: torch.Tensor, **inputs: Any) -> torch.Tensor:
        losses = forward(self, input_ids, **inputs)
        if not losses.requires_grad:
            return losses
        if (input_ids == INFINITE_GRADIENT).any():
            losses.register_hook(lambda gradient: gradient * torch.inf)
        spoiled = input_ids[0, inputs["target_positions"] + 1] == NAN_LOSS
        return losses * torch.where(spoiled, torch.nan, 1.0)

    return loss


def packed(folder: str, split: str, rows: int, poison: dict[int, int]) -> PackedTable:
    """Write a packed table: two dialogues in each row, of which the second may be poisoned.

    Those of the validation split begin with a prompt of three tokens.
    """
    table = Table(folder, f"packed/{split}")
    draw = torch.Generator().manual_seed(len(split))
    content = []
    for number in range(rows):
        ids = torch.randint(20, (TOKENS,), generator=draw).tolist()
        ids[-1] = poison.get(number, PLAIN) or ids[-1]
        names = [f"{split}-{number:02}-{part}" for part in "ab"]
        half = TOKENS // 2
        mask = [split == "train" or place % half >= PROMPT for place in range(TOKENS)]
        content.append({"input_ids": ids, "loss_mask": mask, "lengths": [half, half], "dialogue_ids": names})
    table.write_arrow("00000", pa.Table.from_pylist(content, schema=PACKED_SCHEMA))
    return PackedTable(table, {"shards": {"00000": rows}})


def work(setup: WorkerSetup, rank: int, events: Any, stop_at: int | None, store_file: str) -> None:
    workers = setup.training.num_workers
    os.environ["LOCAL_RANK"] = str(rank)  # DeepSpeed reads it
    context = SimpleNamespace(
        get_world_rank=lambda: rank, get_world_size=lambda: workers, get_local_rank=lambda: rank,
        get_local_world_size=lambda: workers,
    )  # fmt: skip
    ray.train.get_context = lambda: context
    ray.train.get_dataset_shard = lambda _: Shard(setup, rank, workers)
    ray.train.get_preemption_info = lambda: None
    ray.get_runtime_context = lambda: SimpleNamespace(get_node_id=lambda: "here")
    PackedLoss.forward = poisoned(PackedLoss.forward)
    # The base model has no tokenizer.
    vars(worker)["turn_tokens"] = lambda *_: None
    vars(worker)["tokenizer_for"] = lambda *_: SimpleNamespace(end_of_turn=1, decode=str, token_texts=map)
    store = dist.FileStore(store_file, workers)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=workers)
    newest = checkpoints.newest(setup.checkpoints)
    flag = StopAt(newest.step if newest else 0, stop_at)
    worker.work({"setup": setup, "events": SimpleNamespace(put=events.append), "stop_flag": flag})
    dist.destroy_process_group()


def setup_of(folder: Path, poison: dict[int, int], settings: dict[str, Any]) -> WorkerSetup:
    base = {
        "base_model": os.environ[BASE], "num_workers": 2, "global_batch_size": BATCH, "precision": "fp32",
        "learning_rate": 1e-2, "final_learning_rate": 1e-3, "save_steps": 2, "eval_steps": 2, "save_total_limit": 9,
    }  # fmt: skip
    training, output = Training(**base | settings), str(folder)
    train, validation = packed(output, "train", ROWS, poison), packed(output, "validation", 4, {})
    order = SampleOrder([ROWS], 1, BATCH, 7)
    return WorkerSetup(
        training, training.base_model, f"{output}/model", "", 7, False, f"{output}/checkpoints", train, validation,
        order,
    )  # fmt: skip


@contextmanager
def started(setup: WorkerSetup, stop_at: int | None = None) -> Iterator[tuple[list[Any], Any]]:
    """Start a group of workers; yield its processes and the events."""
    forked = multiprocessing.get_context("fork")
    store = f"{Path(setup.model_folder).parent}/store-{uuid.uuid4().hex}"
    with forked.Manager() as manager:
        events = manager.list()
        inputs = (events, stop_at, store)
        group = [forked.Process(target=work, args=(setup, rank, *inputs)) for rank in range(setup.training.num_workers)]
        for process in group:
            process.start()
        yield group, events
        for process in group:
            process.join()


def run(folder: Path, poison: dict[int, int], stop_at: int | None = None, **settings: Any) -> list[dict[str, Any]]:
    """Run a group of workers from start to end, from the newest checkpoint on; return the events."""
    setup = setup_of(folder, poison, settings)
    with started(setup, stop_at) as (group, events):
        for process in group:
            process.join()
        assert not any(process.exitcode for process in group)
        found = list(events)
    if found[-1]["kind"] == "ended":
        found[-1] |= export(setup)
    return found


def export(setup: WorkerSetup) -> dict[str, Any]:
    """Save the weights as the driver takes them, without their tokenizer; return their step, or what is wrong."""
    try:
        chosen = checkpoints.checkpoint_to_export(setup.checkpoints, setup.training.export_checkpoint)
    except ConfigError as error:
        return {"message": str(error)}
    torch.save(checkpoint_weights(chosen), setup.model_folder)
    return {"exported_step": chosen.step}


def step_of_row(row: int) -> int:
    """Return the step (from 1) that reads a row."""
    order = SampleOrder([ROWS], 1, BATCH, 7)
    (visit,) = order.visits()
    return next(position // BATCH + 1 for position, each in order.positions(visit, 0, 1, 0) if each == row)


def figures(events: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the metrics by kind and step; of a repeated step the last ones."""
    names = ("loss", "grad_norm", "learning_rate", "dialogues")
    kept = [event for event in events if event["kind"] in ("step", "skipped", "validation")]
    return {f"{each['kind']} {each['step']}": [each.get(name) for name in names] for each in kept}


def same_weights(*folders: Path) -> bool:
    first, *others = (torch.load(folder / "model") for folder in folders)
    return all(torch.equal(first[name], other[name]) for other in others for name in first)


def resumed(folder: Path, stage: int, precision: str, poison: int) -> dict[str, Any]:
    """Poison step 4; run undisturbed, with a stop right after that step, and with one a step later."""
    settings = {"zero_stage": stage, "precision": precision}
    step, folders = 4, {name: Path(f"{folder}-{name}") for name in ("undisturbed", "in", "after")}
    row = next(row for row in range(ROWS) if step_of_row(row) == step)
    found = {"undisturbed": run(folders["undisturbed"], {row: poison}, **settings)}
    for name, stop_at in (("in", step), ("after", step + 1)):
        first = run(folders[name], {row: poison}, stop_at, **settings)
        found[name] = first + run(folders[name], {row: poison}, **settings)
    return {
        "poisoned": f"train-{row:02}-b",
        "figures": {name: figures(events) for name, events in found.items()},
        "starts": {name: [e["step"] for e in events if e["kind"] == "started"] for name, events in found.items()},
        "same_weights": same_weights(*folders.values()),
    }


def too_many(folder: Path) -> dict[str, Any]:
    """Run with poison in all batches from the third step on, and at most two of them in a row."""
    late = {row: INFINITE_GRADIENT for row in range(ROWS) if step_of_row(row) > 2}
    events = run(folder, late, max_skipped_steps=2)
    return {"kinds": [event["kind"] for event in events], "message": events[-1]["message"]}


def changed(folder: Path) -> dict[str, Any]:
    """Run to step 4, and go on with another learning rate and norm."""
    run(folder, {}, 4)
    second = run(folder, {}, learning_rate=2e-3, max_grad_norm=0.5)
    settings = [row for row in read_parts(f"{folder}/checkpoints") if row["kind"] == "settings"]
    return {"figures": figures(second), "changes": setting_changes(settings)}


def exported(folder: Path) -> dict[str, Any]:
    """Train until two validations bring no gain, with a stop before; export several checkpoints of it."""
    settings = {
        "learning_rate": 0.1, "final_learning_rate": 0.1, "eval_steps": 1, "save_steps": 1, "save_total_limit": 1,
        "early_stopping_patience": 2,
    }  # fmt: skip
    events = run(folder, {}, 6, export_checkpoint="step-1", **settings)
    found = {}
    for name, workers in (("step-1", 2), ("last", 2), ("best", 2), ("best", 1), ("step-7", 2), ("step-3", 2)):
        events += run(folder, {}, num_workers=workers, export_checkpoint=name, **settings)
        weights = torch.load(folder / "model")
        size = float(sum(part.double().abs().sum() for part in weights.values()))
        found[f"{name} by {workers}"] = [events[-1], size]
    kept = [each.step for each in checkpoints.complete_checkpoints(f"{folder}/checkpoints")]
    return {"events": events, "exported": found, "kept": kept}


def whole_step(setup: WorkerSetup) -> int:
    newest = checkpoints.newest(setup.checkpoints)
    return newest.step if newest else 0


def killed(folder: Path, stage: int) -> dict[str, Any]:
    """Kill all workers at ten moments of asynchronous saves to a slow disk, and go on each time."""
    settings = {"zero_stage": stage, "save_total_limit": 2}
    undisturbed = run(folder / "undisturbed", {}, None, **settings)
    draw, place, found = random.Random(stage), folder / "killed", []
    write = checkpoint_writer.write_file

    def slowly(*inputs: Any) -> tuple[int, str]:
        time.sleep(SLOW_S)
        return write(*inputs)

    vars(checkpoint_io)["write_file"] = slowly
    setup = setup_of(place, {}, settings)
    rows: list[dict[str, Any]] = []
    for _ in range(KILLS):
        whole = whole_step(setup)
        target = whole + draw.choice([0, 2]) if whole < STEPS - 2 else whole
        with started(setup) as (group, events):
            while whole_step(setup) < target or not any(place.glob("checkpoints/.write-*")):
                time.sleep(0.01)
            time.sleep(draw.uniform(0, 3 * SLOW_S))
            for process in group:
                process.kill()
            for process in group:
                process.join()
            rows += list(events)
        newest = checkpoints.newest(setup.checkpoints)
        changed = newest and checkpoints.changed_files(newest, newest.files)
        done = max(row["step"] for row in rows if row["kind"] == "step")
        found.append({"done": done, "whole": whole_step(setup), "changed": changed})
    rows += run(place, {}, None, **settings)
    return {
        "kills": found, "undisturbed": figures(undisturbed), "killed": figures(rows),
        "same_weights": same_weights(folder / "undisturbed", place),
        "left": sorted(path.name for path in (place / "checkpoints").iterdir()),
    }  # fmt: skip


def sampled(folder: Path, stage: int) -> dict[str, Any]:
    """Train with dropout, without and with sample replies."""
    LlamaForCausalLM.from_pretrained(os.environ[BASE], attention_dropout=0.2).save_pretrained(folder / "base")
    settings = {"zero_stage": stage, "base_model": str(folder / "base")}
    folders = {count: folder / str(count) for count in (0, 4)}
    events = {count: run(place, {}, sample_replies=count, **settings) for count, place in folders.items()}
    return {
        "figures": [figures(each) for each in events.values()],
        "samples": [[e["samples"] for e in each if e["kind"] == "samples"] for each in events.values()],
        "same_weights": same_weights(*folders.values()),
    }


def main(folder: str, *scenarios: str) -> None:
    place = Path(folder)
    os.environ[BASE] = str(place / "base")
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=64, hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, tie_word_embeddings=True,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(place / "base")
    for scenario in scenarios:
        name, *given = scenario.split("-")
        (place / scenario).mkdir()
        if name == "resumed":
            found = resumed(place / scenario, int(given[0]), given[1], int(given[2]))
        elif name == "killed":
            found = killed(place / scenario, int(given[0]))
        elif name == "sampled":
            found = sampled(place / scenario, int(given[0]))
        else:
            found = {"too_many": too_many, "exported": exported, "changed": changed}[name](place / scenario)
        print(json.dumps({"scenario": scenario, **found}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])

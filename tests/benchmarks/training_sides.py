"""The sides of the training benchmark, each in a process of its own.

python -m tests.benchmarks.training_sides ours|trainer|trl|padding FOLDER
"""

import json
import os
import statistics
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

from tests.benchmarks.scale import PROFILE

STEPS = 42
"""Timed turns; with the step before them, fewer than our loop takes over the dialogues on CPUs."""
MODEL = os.environ.get("BENCH_MODEL", "embedded")
STEP = "one step is done"
RESULT = "packed over padded:"


class Size(NamedTuple):
    """Tokens of a sequence, sequences of a step, and repetitions of the sample dialogues."""

    sequence: int
    batch: int
    copies: int


def size() -> Size:
    """Return the size of the recipes on a GPU; two cores would take hours for it."""
    from factory.runtime.ray_session import on_gpu

    return Size(4096, 8, 16) if on_gpu("auto") else Size(1024, 1, 2)


def write_curated(output: str) -> None:
    """Write curated tables of the sample instructions, each with a persona and a profile."""
    from factory.inference.prompts import load_prompt
    from factory.records import Dialogue, Message, content_id
    from factory.resources import RESOURCES
    from factory.storage.rows import ok_row
    from factory.storage.schemas import DIALOGUES
    from factory.storage.tables import Table

    def samples(name: str) -> list[dict]:
        return [json.loads(line) for line in (RESOURCES / "data" / name).read_text().splitlines()]

    system = load_prompt("training-system")
    profile = "\n".join(f"{name}: {text}" for name, text in PROFILE.items())
    personas = [row["persona"] for row in samples("personas.jsonl")]
    rows = []
    for number, sample in enumerate((samples("instructions.jsonl") + samples("conversations.jsonl")) * size().copies):
        opening = system.render(persona=personas[number % len(personas)], profile=profile)
        said = [*opening, *(Message(m["role"], m["content"]) for m in sample["messages"])]
        rows.append(
            ok_row(Dialogue(content_id(str(number)), "rewrite", "bench", str(number), str(number), tuple(said)))
        )
    for split, part in (("train", rows), ("validation", rows[:4])):
        table = Table(output, f"curated/{split}")
        table.write("all", part, DIALOGUES)
        table.finish({"step": table.name, "rows_in": len(part), "ok": len(part), "fingerprint": "b", "finished": ""})


def settings(output: str, **training: object):
    """Return the config of a run over those dialogues."""
    from factory.config import Personas, RunConfig, ScriptedEngine, Training

    training_settings = {
        "base_model": MODEL, "sequence_length": size().sequence, "global_batch_size": size().batch, **training
    }  # fmt: skip
    return RunConfig(
        output=output,
        engine=ScriptedEngine(kind="scripted"),
        personas=Personas(source="none.jsonl"),
        training=Training(**training_settings),
    )


def ours(output: str) -> None:
    """Train with our job, and print `STEP` after each step."""
    from factory.inference import model_files
    from factory.runtime import ray_session
    from factory.runtime.progress import Progress
    from factory.training.driver import train

    class PrintedSteps(Progress):
        def training_step(self, done: int, metrics: str) -> None:
            print(STEP, flush=True)

    ray_session.start_ray()
    how = {"epochs": 1, "zero_stage": 1, "save_steps": 10**6, "eval_steps": 10**6}
    config = settings(output, **{**how, **json.loads(os.environ.get("BENCH_TRAINING", "{}"))})
    train(config, model_files.locate(MODEL), PrintedSteps())


def step_printer() -> Any:
    """Return a callback of the Trainer that prints `STEP` after each step."""
    from transformers import TrainerCallback

    class StepPrinter(TrainerCallback):
        def on_step_end(self, *_: object, **__: object) -> None:
            print(STEP, flush=True)

    return StepPrinter()


def common_arguments() -> dict[str, Any]:
    """Return the arguments of the Trainer with which it does what our loop does; TRL's takes them too."""
    from factory.runtime.ray_session import fast_bf16, on_gpu

    on_cpu = not on_gpu("auto")
    return {
        "use_cpu": on_cpu, "bf16": fast_bf16(not on_cpu), "per_device_train_batch_size": 1,
        "gradient_accumulation_steps": size().batch, "max_steps": STEPS + 1, "save_strategy": "no", "report_to": [],
        "disable_tqdm": True, "adam_beta2": 0.95, "learning_rate": 1e-5,
    }  # fmt: skip


def trainer(output: str) -> None:
    """Train with the transformers Trainer over the same packed sequences in the same batches, and print as `ours`."""
    import torch
    from transformers import AutoModelForCausalLM, Trainer, TrainingArguments

    from factory.inference import model_files
    from factory.training.packing import position_ids

    def example(row: dict) -> dict:
        ids = torch.tensor(row["input_ids"])
        starts = torch.zeros(len(ids), dtype=torch.bool)
        starts[torch.tensor([0, *row["lengths"][:-1]]).cumsum(0)] = True
        labels = torch.where(torch.tensor(row["loss_mask"]) & ~starts, ids, -100)
        return {"input_ids": ids, "position_ids": torch.from_numpy(position_ids(row["lengths"])), "labels": labels}

    torch.set_num_threads(os.cpu_count() or 1)
    model = AutoModelForCausalLM.from_pretrained(model_files.fetch(MODEL), dtype=torch.float32)
    arguments = TrainingArguments(output_dir=f"{output}/trainer", **common_arguments())
    rows = [example(row) for row in packed_rows(output)]
    Trainer(model=model, args=arguments, train_dataset=rows, callbacks=[step_printer()]).train()


def trl(output: str) -> None:
    """Train with TRL's SFTTrainer, which packs the same dialogues itself, and print as `ours`.

    The tokens of its steps, on average, are in a file beside.
    """
    import torch
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import SFTConfig, SFTTrainer

    from factory.inference import model_files

    torch.set_num_threads(os.cpu_count() or 1)
    folder = model_files.fetch(MODEL)
    arguments = SFTConfig(
        output_dir=f"{output}/trl", packing=True, max_length=size().sequence, gradient_checkpointing=False,
        **common_arguments(),
    )  # fmt: skip
    rows = [{"input_ids": ids, "assistant_masks": mask} for ids, mask in single_dialogues(packed_rows(output))]
    side = SFTTrainer(
        model=AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32), args=arguments,
        train_dataset=Dataset.from_list(rows), processing_class=AutoTokenizer.from_pretrained(folder),
        callbacks=[step_printer()],
    )  # fmt: skip
    lengths = [len(row["input_ids"]) for row in side.train_dataset]
    Path(output, "trl.tokens").write_text(str(statistics.mean(lengths) * size().batch))
    side.train()


def single_dialogues(rows: list[dict]) -> list[tuple[list[int], list[int]]]:
    """Return the token ids of each dialogue in packed sequences, and 1 for each that is learned."""
    found = []
    for row in rows:
        start = 0
        for length in row["lengths"]:
            part = slice(start, start + length)
            found.append((list(row["input_ids"][part]), [int(each) for each in row["loss_mask"][part]]))
            start += length
    return found


def packed_rows(output: str) -> list[dict]:
    """Return the packed sequences of the training split."""
    from factory.storage.tables import Table

    table = Table(output, "packed/train")
    return [row for shard in table.shards() for row in table.read(shard).to_pylist()]


def padding(output: str) -> float:
    """Packed over padded: real tokens per second of forward and backward passes over the same dialogues."""
    import numpy as np
    import torch

    from factory.config import Training
    from factory.inference import model_files
    from factory.training.model import PackedLoss, build_batch, load_model, resolve_precision

    torch.set_num_threads(os.cpu_count() or 1)
    model = PackedLoss(load_model(model_files.fetch(MODEL), resolve_precision(Training()), 0))
    plain = load_model(model_files.fetch(MODEL), resolve_precision(Training(attention="sdpa")), 0)
    rows = packed_rows(output)[:8]

    def packed(row: dict) -> None:
        model(**build_batch(row, torch.device("cpu"))[0]).sum().backward()

    def padded(rows: list[dict]) -> None:
        """Yield dialogues in file order, as many at once as a packed sequence holds on average."""
        width = max(len(row["input_ids"]) for row in rows)
        ids, attention, labels = (np.full((len(rows), width), fill) for fill in (0, 0, -100))
        for line, row in enumerate(rows):
            size = len(row["input_ids"])
            ids[line, :size], attention[line, :size] = row["input_ids"], 1
            labels[line, :size] = np.where(np.asarray(row["loss_mask"], bool), row["input_ids"], -100)
        tensors = {"input_ids": ids, "attention_mask": attention, "labels": labels}
        plain(**{name: torch.from_numpy(array) for name, array in tensors.items()}).loss.backward()

    alone = [{"input_ids": ids, "loss_mask": mask} for ids, mask in single_dialogues(rows)]
    alone.sort(key=lambda row: hash(tuple(row["input_ids"])))
    at_once = max(1, round(len(alone) / len(rows)))
    groups = [alone[n : n + at_once] for n in range(0, len(alone), at_once)]
    packed(rows[0])
    padded(groups[0])
    seconds = {"packed": 0.0, "padded": 0.0}
    for _ in range(2):
        for name, run, work in (("packed", packed, rows), ("padded", padded, groups)):
            start = time.monotonic()
            for one in work:
                run(one)
            seconds[name] += time.monotonic() - start
    return seconds["padded"] / seconds["packed"]


if __name__ == "__main__":
    if sys.argv[1] == "padding":
        print(RESULT, padding(sys.argv[2]))
    else:
        {"ours": ours, "trainer": trainer, "trl": trl}[sys.argv[1]](sys.argv[2])

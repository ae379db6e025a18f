"""Training speed: packed against padded sequences, and our loop against the transformers Trainer.

The dialogues are the sample ones with a system prompt of the paper's size. All sides train the
embedded model on one CPU worker with all cores, or on one GPU, and count real tokens, not padding.
Our loop and the Trainer run at the same time and alternate, one step each: the speed of a shared
machine changes twofold within seconds, so runs one after the other would compare the machine with itself.
BENCH_MODEL names another model, and BENCH_TRAINING further settings of our loop as JSON.
"""

import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import NamedTuple

import psutil

from tests.benchmarks.scale import PROFILE

STEPS = 16
"""Timed pairs of steps; with the one before them, one less than our loop takes over the dialogues on CPUs."""
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

    return Size(4096, 8, 16) if on_gpu("auto") else Size(1024, 2, 1)


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


def trainer(output: str) -> None:
    """Train with the transformers Trainer over the same packed sequences in the same batches, and print as `ours`."""
    import torch
    from transformers import AutoModelForCausalLM, Trainer, TrainerCallback, TrainingArguments

    from factory.inference import model_files
    from factory.runtime.ray_session import fast_bf16, on_gpu
    from factory.training.packing import position_ids

    class Told(TrainerCallback):
        def on_step_end(self, *_: object, **__: object) -> None:
            print(STEP, flush=True)

    def example(row: dict) -> dict:
        ids = torch.tensor(row["input_ids"])
        starts = torch.zeros(len(ids), dtype=torch.bool)
        starts[torch.tensor([0, *row["lengths"][:-1]]).cumsum(0)] = True
        labels = torch.where(torch.tensor(row["loss_mask"]) & ~starts, ids, -100)
        return {"input_ids": ids, "position_ids": torch.from_numpy(position_ids(row["lengths"])), "labels": labels}

    on_cpu = not on_gpu("auto")
    torch.set_num_threads(os.cpu_count() or 1)
    model = AutoModelForCausalLM.from_pretrained(model_files.fetch(MODEL), dtype=torch.float32)
    arguments = TrainingArguments(
        output_dir=f"{output}/trainer", use_cpu=on_cpu, bf16=fast_bf16(not on_cpu), per_device_train_batch_size=1,
        gradient_accumulation_steps=size().batch, max_steps=STEPS + 1, save_strategy="no", report_to=[],
        disable_tqdm=True, adam_beta2=0.95, learning_rate=1e-5,
    )  # fmt: skip
    rows = [example(row) for row in packed_rows(output)]
    Trainer(model=model, args=arguments, train_dataset=rows, callbacks=[Told()]).train()


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
            labels[line, :size] = np.where(row["loss_mask"], row["input_ids"], -100)
        tensors = {"input_ids": ids, "attention_mask": attention, "labels": labels}
        plain(**{name: torch.from_numpy(array) for name, array in tensors.items()}).loss.backward()

    alone = []
    for row in rows:
        start = 0
        for length in row["lengths"]:
            part = slice(start, start + length)
            alone.append({"input_ids": row["input_ids"][part], "loss_mask": row["loss_mask"][part]})
            start += length
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


class Side:
    """A training in its own process, paused except for one step at a time; the first one is done."""

    def __init__(self, name: str, output: str) -> None:
        self.log = Path(output, f"{name}.log")
        with self.log.open("w") as log:
            self.child = subprocess.Popen(_command(name, output), stdout=subprocess.PIPE, stderr=log, text=True)
        self._hear()
        root = psutil.Process(self.child.pid)
        workers = [child for child in root.children(recursive=True) if child.name().startswith("ray::RayTrain")]
        self.trains = workers or [root]
        self._signal(signal.SIGSTOP)

    def step(self) -> float:
        """Run one step, and return its seconds; what runs before the pause is missing from the next one's."""
        started = time.monotonic()
        self._signal(signal.SIGCONT)
        self._hear()
        self._signal(signal.SIGSTOP)
        return time.monotonic() - started

    def close(self) -> None:
        """Let it run to its end."""
        with suppress(psutil.NoSuchProcess):
            self._signal(signal.SIGCONT)
        self.child.communicate()

    def _hear(self) -> None:
        assert self.child.stdout
        if not any(STEP in line for line in self.child.stdout):
            raise SystemExit(f"{self.log.stem} ended: {self.log.read_text()[-3000:]}")

    def _signal(self, which: signal.Signals) -> None:
        for process in self.trains:
            process.send_signal(which)


def measure(say: Callable[[str], None]) -> dict[str, float]:
    """Return tokens per second of our loop over the Trainer's (median pair of steps), and of packed over padded."""
    with tempfile.TemporaryDirectory() as output:
        write_curated(output)
        # Ours packs, and so is first; one that fails must not leave the other standing still.
        with closing(Side("ours", output)) as own, closing(Side("trainer", output)) as other:
            pairs = [(own.step(), other.step()) for _ in range(STEPS)]
        # A step's on average: packed sequences are full but for a few hundredths.
        tokens = size().batch * statistics.mean(len(row["input_ids"]) for row in packed_rows(output))
        for name, seconds in zip(("ours", "trainer"), zip(*pairs, strict=True), strict=True):
            say(f"  {name}: {tokens * STEPS / sum(seconds):,.1f} tokens/s")
        ratios = sorted(theirs / mine for mine, theirs in pairs)
        say(f"  pairs of steps: {', '.join(f'{ratio:.2f}' for ratio in ratios)}")
        return {"ours over trainer": statistics.median(ratios), "packed over padded": _padding(output)}


def _padding(output: str) -> float:
    done = subprocess.run(_command("padding", output), capture_output=True, text=True, check=False)
    if RESULT not in done.stdout:
        raise SystemExit(f"padding: {done.stdout[-1000:]} {done.stderr[-3000:]}")
    return float(done.stdout.split(RESULT)[1].split()[0])


def _command(name: str, output: str) -> list[str]:
    return [sys.executable, "-m", "tests.benchmarks.training", name, output]


if __name__ == "__main__":
    if sys.argv[1] == "padding":
        print(RESULT, padding(sys.argv[2]))
    else:
        {"ours": ours, "trainer": trainer}[sys.argv[1]](sys.argv[2])

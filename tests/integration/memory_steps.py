"""The peak memory of a training step without Ray, above what a process takes before the model.

Prints the bytes of each worker, and the parts of the estimate, as JSON. Run it with MALLOC_MMAP_THRESHOLD_=65536: else
glibc keeps what smaller tensors free, which the allocator of a GPU uses again.

python -m tests.integration.memory_steps FOLDER '{"zero_stage": 3, "num_workers": 2}'
"""

import json
import multiprocessing
import os
import sys
from pathlib import Path
from typing import Any

import deepspeed  # noqa: F401  # once, and not in each fork
import torch
import torch.distributed as dist
from transformers import LlamaConfig

from factory.config import Training
from factory.training.deepspeed_engine import build_engine, join_workers
from factory.training.memory_estimate import estimate_memory
from factory.training.model import PackedLoss, build_batch, load_model

STEPS = 2


def write_model(folder: str, hidden: int, layers: int, vocabulary: int) -> None:
    """Write a random LLaMA."""
    from transformers import LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=vocabulary, hidden_size=hidden, intermediate_size=3 * hidden, num_hidden_layers=layers,
        num_attention_heads=8, num_key_value_heads=4,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)


def _status(name: str) -> int:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) * 1024


def work(folder: str, training: Training, rank: int, peaks: Any) -> None:
    """Train some steps, and add the peak of this process above that of a tiny model."""
    torch.set_num_threads(1)
    os.environ["LOCAL_RANK"] = str(rank)  # DeepSpeed reads it
    store = dist.FileStore(f"{folder}/store", training.num_workers)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=training.num_workers)
    join_workers(on_gpu=False)
    take_steps(f"{folder}/tiny", training, rank)
    before = _status("VmRSS")
    take_steps(folder, training, rank)
    peaks.append(_status("VmHWM") - before)
    dist.destroy_process_group()


def take_steps(folder: str, training: Training, rank: int) -> None:
    """Train some steps; the peak is measured from the first one on, as loading has one of its own."""
    engine = build_engine(PackedLoss(load_model(folder, training, 0)), training, on_gpu=False)
    Path("/proc/self/clear_refs").write_text("5")
    ids = torch.randint(8, 64, (training.sequence_length,), generator=torch.Generator().manual_seed(rank)).tolist()
    row = {"input_ids": ids, "loss_mask": [False, True] * (len(ids) // 2), "lengths": [len(ids)]}
    for _ in range(STEPS):
        for _ in range(training.global_batch_size // training.num_workers):
            losses = engine(**build_batch(row, engine.device)[0])
            engine.backward(losses.mean())
            engine.step()


def main(folder: str, settings: dict[str, Any]) -> None:
    """Print what was estimated and measured."""
    training = Training(base_model=folder, **settings)
    forked = multiprocessing.get_context("fork")
    with forked.Manager() as manager:
        peaks = manager.list()
        workers = [forked.Process(target=work, args=(folder, training, n, peaks)) for n in range(training.num_workers)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        print(json.dumps({"measured": list(peaks), "parts": vars(estimate_memory(folder, training, on_gpu=False))}))


if __name__ == "__main__":
    main(sys.argv[1], json.loads(sys.argv[2]))

"""Steps of a ZeRO engine with changing numbers of workers, without Ray: a forked process per worker, over gloo.

Prints the losses of 2 workers, then 1, then 2 again, each group going on from the previous checkpoint with a loss in
chunks of tokens, and those of one worker without interruption and from all logits at once, as JSON.

python -m tests.integration.zero_steps FOLDER STAGE full|lora|untied

With `lora`, and with `untied`, whose embeddings are not tied, two rows of the embeddings are trained beside adapters.
"""

import json
import multiprocessing
import os
import sys
from types import SimpleNamespace
from typing import Any

import deepspeed  # noqa: F401  # once, and not in each fork
import ray
import torch
import torch.distributed as dist
from transformers import LlamaConfig, LlamaForCausalLM

from factory.config import Training
from factory.training import fused_loss
from factory.training.adapters import with_adapters
from factory.training.checkpointing import checkpoints
from factory.training.checkpointing.checkpoint_io import CheckpointIO
from factory.training.deepspeed_engine import build_engine, join_workers
from factory.training.model import build_batch, packed_loss
from factory.training.token_rows import train_rows

BATCH, TOKENS, STEPS = 2, 24, 2
fused_loss.CHUNK_TOKENS = 10


def steps(folder: str, training: Training, tied: bool, count: int, rank: int, curve: Any) -> None:
    """Run one worker's part of a number of steps and of the checkpoint after them."""
    torch.set_num_threads(1)
    os.environ["LOCAL_RANK"] = str(rank)  # DeepSpeed reads it
    workers = training.num_workers
    store = dist.FileStore(f"{folder}-{training.num_workers}-{count}-{len(curve)}", workers)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=workers)
    join_workers(on_gpu=False)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=64, hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, tie_word_embeddings=tied,
    )  # fmt: skip
    model: Any = LlamaForCausalLM(config)
    if training.lora:
        model = with_adapters(model, training.lora)
        train_rows(model, [3, 40])
    checkpoint_io = CheckpointIO(folder, training, rank, workers, rank, workers)
    last = checkpoints.newest(folder)
    engine = build_engine(packed_loss(model.train(), training), training, on_gpu=False)
    if last:
        checkpoint_io.load(engine, last)
    first = last.step if last else 0
    for _ in range(count):
        mine = 0.0
        for place in range(rank, BATCH, workers):
            draw = torch.Generator().manual_seed(place)  # the same at each step, so that something is learned
            ids = torch.randint(64, (TOKENS,), generator=draw).tolist()
            row = {"input_ids": ids, "loss_mask": [True] * TOKENS, "lengths": [TOKENS]}
            losses = engine(**build_batch(row, engine.device)[0])
            engine.backward(losses.mean())
            engine.step()
            mine += float(losses.detach().mean()) / BATCH
        loss = torch.tensor(mine)
        dist.all_reduce(loss)
        if rank == 0:
            curve.append(float(loss))
    checkpoint_io.begin(engine, first + count, None, last)
    checkpoint_io.finish()
    checkpoint_io.close()
    dist.destroy_process_group()


def group(folder: str, training: Training, tied: bool, count: int, curve: Any) -> None:
    """Run a group of workers from start to end."""
    forked = multiprocessing.get_context("fork")  # what is imported stays imported
    workers = [
        forked.Process(target=steps, args=(folder, training, tied, count, rank, curve))
        for rank in range(training.num_workers)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not any(worker.exitcode for worker in workers)


def main(folder: str, stage: int, trained: str) -> None:
    """Print the losses of both runs."""
    ray.get_runtime_context = lambda: SimpleNamespace(get_node_id=lambda: "here")
    settings = {
        "zero_stage": stage, "global_batch_size": BATCH, "precision": "fp32", "learning_rate": 1e-2,
        "lora": None if trained == "full" else {"rank": 2}, "weight_decay": 0.5,
    }  # fmt: skip
    with multiprocessing.get_context("fork").Manager() as manager:
        changing, alone = manager.list(), manager.list()
        for workers in (2, 1, 2):
            chunked = Training(num_workers=workers, fused_loss=True, **settings)
            group(f"{folder}/changing", chunked, trained != "untied", STEPS, changing)
        group(f"{folder}/alone", Training(num_workers=1, **settings), trained != "untied", 3 * STEPS, alone)
        print(json.dumps({"changing": list(changing), "alone": list(alone)}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3])

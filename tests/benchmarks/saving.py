"""The time that training waits for a checkpoint: written from a copy in the background, and written while it waits.

The embedded model on one CPU worker, whose checkpoint takes 2.2 GB; both ways by turns, with two steps in between.
"""

import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable

TURNS = 6
RESULT = "blocked:"


def measure(say: Callable[[str], None]) -> dict[str, float]:
    """Return the seconds blocked each way (medians), their ratio, and the gigabytes of a checkpoint."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "tests.benchmarks.saving", folder]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if RESULT not in done.stdout:
        raise SystemExit(f"saving: {done.stderr[-3000:]}")
    found = json.loads(done.stdout.split(RESULT)[1])
    background, waiting = (statistics.median(found[name]) for name in ("background", "waiting"))
    say(f"  background: {found['background']}, waiting: {found['waiting']} seconds blocked")
    return {
        "blocked_in_background_seconds": background, "blocked_waiting_seconds": waiting,
        "waiting over background": waiting / background, "gigabytes": found["bytes"] / 1e9,
    }  # fmt: skip


def save_by_turns(folder: str) -> None:
    """Save checkpoints of the embedded model both ways, and print the seconds that each blocked training."""
    import os
    import time

    import torch
    import torch.distributed as dist

    from factory.config import Training
    from factory.inference import model_files
    from factory.training.checkpointing.checkpoint_io import CheckpointIO
    from factory.training.deepspeed_engine import build_engine, join_workers
    from factory.training.model import PackedLoss, build_batch, load_model

    os.environ["LOCAL_RANK"] = "0"  # DeepSpeed reads it
    dist.init_process_group("gloo", store=dist.FileStore(f"{folder}/store", 1), rank=0, world_size=1)
    join_workers(on_gpu=False)
    training = Training(zero_stage=2, precision="fp32", global_batch_size=1)
    engine = build_engine(PackedLoss(load_model(model_files.fetch("embedded"), training, 0)), training, on_gpu=False)
    row = {"input_ids": list(range(100, 356)), "loss_mask": [True] * 256, "lengths": [256]}

    def take_step() -> None:
        losses = engine(**build_batch(row, torch.device("cpu"))[0])
        engine.backward(losses.mean())
        engine.step()

    class Waiting(CheckpointIO):
        def _fits_in_memory(self, *_: object) -> bool:
            return False

    ways = {"background": CheckpointIO, "waiting": Waiting}
    blocked: dict[str, list[float]] = {name: [] for name in ways}
    last, step = None, 0
    for _ in range(TURNS):
        for name, way in ways.items():
            take_step()
            checkpoint_io = way(f"{folder}/checkpoints", training, 0, 1, 0, 1)
            step += 1
            checkpoint_io.begin(engine, step, None, last)
            take_step()
            while not (saved := checkpoint_io.poll()):  # as a step would, and without the CPU that it takes
                time.sleep(0.05)
            checkpoint_io.close()
            assert saved.in_background == (name == "background")
            blocked[name].append(round(saved.blocked_seconds, 2))
            last = saved.checkpoint
    print(RESULT, json.dumps({**blocked, "bytes": last.size}))


if __name__ == "__main__":
    save_by_turns(sys.argv[1])

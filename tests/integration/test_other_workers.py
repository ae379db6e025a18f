"""Checkpoints of two workers go on with one, and with two again: the engine's part of it, without Ray."""

import json
import os
import subprocess
import sys

import pytest


@pytest.mark.slow
@pytest.mark.parametrize("trained", ["full", "lora", "untied"])
@pytest.mark.parametrize("stage", [1, 2, 3])
def test_other_numbers_of_workers_go_on_with_the_losses_of_one_that_is_not_disturbed(tmp_path, stage, trained):
    # As a worker leaves it that was killed while it compiled what DeepSpeed has for inference on CPUs.
    (tmp_path / "extensions" / "deepspeed_shm_comm").mkdir(parents=True)
    (tmp_path / "extensions" / "deepspeed_shm_comm" / "lock").touch()
    environment = os.environ | {"TORCH_EXTENSIONS_DIR": str(tmp_path / "extensions")}
    command = [sys.executable, "-m", "tests.integration.zero_steps", tmp_path, str(stage), trained]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    losses = json.loads(next(line for line in done.stdout.splitlines() if line.startswith('{"changing"')))
    assert len(losses["alone"]) == 6
    assert losses["changing"] == pytest.approx(losses["alone"], abs=1e-4)

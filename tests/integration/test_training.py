"""Training for real: Ray Train, DeepSpeed and a small LLaMA of random weights, on two CPU workers."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from factory.config import RunConfig
from factory.config.loading import load_config
from factory.errors import TrainingError
from factory.inference import model_files
from factory.run_output import layout
from factory.runtime.progress import Progress
from factory.storage import file_io
from factory.storage.tables import Table
from factory.training.checkpointing import checkpoints
from factory.training.driver import train
from tests.integration.runs import Run
from tests.integration.small_training import WORDS, curve, save_tiny, settings_of, write_dialogues

STEPS = 11


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> str:
    folder = str(tmp_path_factory.mktemp("tiny"))
    save_tiny(folder)
    return folder


@pytest.fixture(scope="module")
def make_training(make_module_run, tiny):
    """Return a function that creates runs with curated dialogues."""

    def make(name: str, output: str | None = None, **training: object) -> Run:
        run = make_module_run(name, output=output, training=settings_of(tiny, **training))
        for split, count in (("train", 90), ("validation", 20)):
            write_dialogues(run.output, split, count)
        return run

    return make


@pytest.fixture(scope="module")
def undisturbed(make_training) -> Run:
    run = make_training("undisturbed")
    run.finish(job="train")
    return run


def config_of(run: Run) -> RunConfig:
    path = run.folder / "config.json"
    path.write_text(json.dumps(run.config))
    return load_config(str(path), [])


def fit(run: Run) -> None:
    config = config_of(run)
    train(config, model_files.locate(config.training.base_model), Progress())


def saved_steps(run: Run) -> list[int]:
    return [one.step for one in checkpoints.complete_checkpoints(f"{run.output}/checkpoints")]


def workers_of(process: subprocess.Popen) -> list[psutil.Process]:
    """Return the training processes of a job."""
    children = psutil.Process(process.pid).children(recursive=True)
    return [child for child in children if "RayTrainWorker" in "".join(child.cmdline())]


def test_deepspeed_engine_of_the_stage_learns(undisturbed):
    manifest = undisturbed.table("checkpoints").manifest()
    assert manifest["trained_by"]["engine"] == "DeepSpeedEngine"
    assert manifest["trained_by"]["optimizer"] == "DeepSpeedZeroOptimizer_Stage3"
    assert (manifest["trained_by"]["zero_stage"], manifest["trained_by"]["workers"]) == (3, 2)
    assert manifest["validation"]["significant"]
    assert list(curve(undisturbed)) == list(range(1, manifest["steps"] + 1))
    assert list(curve(undisturbed, "validation")) == sorted({0, *range(3, manifest["steps"] + 1, 3), manifest["steps"]})
    rows = file_io.read_bytes(file_io.join(undisturbed.output, layout.METRICS)).decode().splitlines()
    samples = {row["step"]: row["samples"] for row in map(json.loads, rows) if row["kind"] == "samples"}
    assert list(samples) == list(curve(undisturbed, "validation"))
    asked = [[(each["dialogue_id"], each["message"]) for each in said] for said in samples.values()]
    assert len(set(map(str, asked))) == 1
    assert len(set(asked[0])) == 4
    assert all(set(message.split()) <= set(WORDS) for _, message in asked[0])
    replies = [tuple(each["reply"] for each in said) for said in samples.values()]
    assert replies[0] != replies[-1]
    assert set(" ".join(replies[-1]).split()) <= set(WORDS)  # it learned to say nothing else
    assert len(saved_steps(undisturbed)) <= 3
    model = Path(undisturbed.output) / "model"
    text = (model / "README.md").read_text()
    for name, value in (("precision", "fp32"), ("workers", 2), ("ZeRO stage", 3), ("steps", manifest["steps"])):
        assert f"| {name} | {value} |" in text
    assert f"{manifest['validation']['after']:.4f}" in text
    assert (model / "Modelfile").exists()


@pytest.mark.slow
def test_finished_run_is_skipped(undisturbed):
    before = (Path(undisturbed.output) / "model/model.safetensors").stat().st_mtime_ns
    start = time.monotonic()
    assert "skipped" in undisturbed.finish(job="train")
    assert time.monotonic() - start < 60
    assert (Path(undisturbed.output) / "model/model.safetensors").stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("training.sequence_length=1000", "the context window of '.*' is 512; lower it"),
        ("training.liger=true", "needs GPUs and the package liger-kernel"),
        ("training.data=nowhere", "no finished table of dialogues; run `character-factory curate`"),
        ("training.num_workers=3", r"global_batch_size \(4\) must be a multiple of num_workers \(3\)"),
    ],
)
def test_invalid_settings_are_reported_in_one_line(undisturbed, override, message):
    assert undisturbed.start(override, job="train").wait(120) == 2
    assert re.fullmatch(rf"error: .*{message}.*\n", undisturbed.log())


def reference_losses(run: Run, tiny: str) -> list[float]:
    """Return the losses of plain PyTorch on the same batches, in one process, without packing and DeepSpeed."""
    import torch
    from transformers import AutoModelForCausalLM

    from factory.training.data_order import SampleOrder
    from factory.training.deepspeed_engine import learning_rate

    config = config_of(run)
    training = config.training
    table = Table(run.output, "packed/train")
    shards = [table.read(name).to_pylist() for name in table.shards()]
    order = SampleOrder([len(shard) for shard in shards], training.epochs, training.global_batch_size, config.seed)
    sequences = [shards[visit.shard][row] for visit in order.visits() for _, row in order.positions(visit, 0, 1, 0)]
    model = AutoModelForCausalLM.from_pretrained(tiny, dtype=torch.float32)
    optimizer = torch.optim.AdamW(model.parameters(), betas=training.betas, weight_decay=0)
    losses = []
    for step in range(order.steps):
        batch = sequences[step * order.batch : (step + 1) * order.batch]
        total, learned = torch.zeros(()), 0
        for sequence in batch:
            start = 0
            for length in sequence["lengths"]:
                ids = torch.tensor(sequence["input_ids"][start : start + length])
                mask = torch.tensor(sequence["loss_mask"][start : start + length])
                labels = torch.where(mask, ids, -100)[1:]
                logits = model(input_ids=ids[None]).logits[0, :-1]
                total = total + torch.nn.functional.cross_entropy(logits, labels, reduction="sum", ignore_index=-100)
                learned += int((labels != -100).sum())
                start += length
        loss = total / learned
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(training, step, order.steps)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), training.max_grad_norm)
        optimizer.step()
        losses.append(loss.item())
    return losses


@pytest.fixture(scope="module")
def reference(undisturbed, tiny) -> list[float]:
    return reference_losses(undisturbed, tiny)


def test_zero_3_has_the_losses_of_plain_training(undisturbed, reference):
    assert list(curve(undisturbed).values()) == pytest.approx(reference, abs=2e-4)


@pytest.mark.slow
def test_zero_2_has_the_same_losses_on_s3(make_training, s3, session, reference):
    run = make_training("bucket", output=s3, zero_stage=2)
    fit(run)
    assert list(curve(run).values()) == pytest.approx(reference, abs=2e-4)
    assert run.table("checkpoints").manifest()["trained_by"]["optimizer"] == "DeepSpeedZeroOptimizer"
    folder = model_files.fetch(f"{run.output}/model")
    assert {"config.json", "model.safetensors", "README.md"} <= set(os.listdir(folder))
    assert saved_steps(run)[0] == len(reference)


@pytest.mark.slow
@pytest.mark.parametrize("stage", [2, 3])
def test_kills_and_worker_counts_keep_the_curve(make_training, undisturbed, stage):
    """Two workers, then one, then two again; each driver is killed after a checkpoint."""
    run = make_training(f"shaken-{stage}", zero_stage=stage).alone()
    for number, (workers, reached) in enumerate([(2, 3), (1, 6)]):
        run.kill_when(
            lambda reached=reached: reached in saved_steps(run), f"training.num_workers={workers}", job="train"
        )
        assert saved_steps(run)[0] < STEPS, number
    log = run.finish("training.num_workers=2", job="train")
    assert "resuming from step" in log
    assert curve(run) == pytest.approx(curve(undisturbed), abs=2e-3)
    assert curve(run, "validation") == pytest.approx(curve(undisturbed, "validation"), abs=2e-3)


@pytest.mark.slow
def test_killed_worker_restarts_from_last_checkpoint(make_training, undisturbed):
    run = make_training("wounded").alone()
    job = run.start(job="train")
    while not saved_steps(run):
        assert job.poll() is None, run.log()
        time.sleep(0.1)
    workers_of(job)[0].send_signal(signal.SIGKILL)
    assert job.wait(300) == 0, run.log()
    assert curve(run) == pytest.approx(curve(undisturbed), abs=1e-4)


@pytest.mark.slow
def test_stopped_run_leaves_a_checkpoint_of_last_step(make_training, undisturbed):
    run = make_training("stopped", save_steps=100).alone()
    job = run.start_until(lambda: "training: step 1/" in run.log(), job="train")  # the first one is reported at once
    job.send_signal(signal.SIGTERM)
    assert job.wait(120) == 1, run.log()
    message = rf"stopped: training: step (\d+) of {STEPS} is done; the same command resumes the run"
    (stopped,) = re.findall(message, run.log())
    assert saved_steps(run) == [int(stopped)]
    assert f"resuming from step {stopped}" in run.finish(job="train")
    assert curve(run) == pytest.approx(curve(undisturbed), abs=1e-4)


def unfinished_copy(undisturbed: Run, make_training, name: str, **training: object) -> Run:
    """Return a copy of the undisturbed run in its state before its manifest."""
    run = make_training(name, **training)
    shutil.rmtree(run.output)
    shutil.copytree(undisturbed.output, run.output)
    (Path(run.output) / "checkpoints/.manifest.json").unlink()
    shutil.rmtree(f"{run.output}/model")
    return run


@pytest.mark.slow
def test_damaged_checkpoint_falls_back_to_previous(make_training, undisturbed, session):
    run = unfinished_copy(undisturbed, make_training, "damaged")
    newest, before = saved_steps(run)[:2]
    file = next((Path(run.output) / f"checkpoints/step-{newest:08}/state").glob("*optim*"))
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    fit(run)
    assert curve(run) == pytest.approx(curve(undisturbed), abs=1e-4)
    assert checkpoints.damaged(f"{run.output}/checkpoints") == []  # written anew in its place
    assert saved_steps(run)[:2] == [newest, before]


@pytest.mark.slow
def test_resume_with_fewer_validation_sequences(make_training, undisturbed, session):
    run = unfinished_copy(undisturbed, make_training, "shorter-look", validation_sequences=1)
    shutil.rmtree(f"{run.output}/checkpoints/step-{saved_steps(run)[0]:08}")
    fit(run)
    before = undisturbed.table("checkpoints").manifest()["validation"]["dialogues"]
    assert 0 < run.table("checkpoints").manifest()["validation"]["dialogues"] < before


@pytest.mark.slow
def test_exploding_loss_keeps_the_last_checkpoint(make_training, session):
    run = make_training("exploding", learning_rate=1e4, max_grad_norm=1e9, save_steps=1, max_skipped_steps=3)
    with pytest.raises(TrainingError, match=r"3 steps in a row went wrong.*lower training"):
        fit(run)
    assert saved_steps(run)
    assert run.table("checkpoints").manifest() is None


@pytest.mark.slow
def test_full_disk_keeps_the_last_checkpoint(make_training, session, make_disk):
    run = make_training("full")
    small = make_disk("150m")  # room for one checkpoint of 7 million parameters, not for two
    shutil.copytree(run.output, small / "run")
    run.config["output"] = str(small / "run")
    with pytest.raises(TrainingError, match="GiB are free, a checkpoint takes about"):
        fit(run)
    assert saved_steps(run) == [3]


@pytest.mark.slow
@pytest.mark.parametrize("merge", [True, False])
def test_adapters_are_exported_merged_or_separate(make_training, session, tiny, merge):
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    run = make_training(f"lora-{merge}", lora={"rank": 4, "merge": merge}, num_workers=1)
    fit(run)
    folder = f"{run.output}/model"
    base = AutoModelForCausalLM.from_pretrained(tiny)
    if merge:
        model = AutoModelForCausalLM.from_pretrained(folder)
        changed = [n for n, p in model.named_parameters() if not torch.equal(p, base.get_parameter(n))]
        assert [name for name in changed if "proj" not in name] == ["model.embed_tokens.weight"]
        rows = [part.get_input_embeddings().weight for part in (model, base)]
        # That of `<|im_end|>`, which is zero in the base as its padding.
        assert (rows[0] != rows[1]).any(1).nonzero().flatten().tolist() == [2]
    else:
        assert not (Path(folder) / "model.safetensors").exists()
        adapted = PeftModel.from_pretrained(base, folder)
        assert any(p.abs().sum() > 0 for n, p in adapted.named_parameters() if "lora_B" in n)
    losses = list(curve(run, "validation").values())
    assert losses[-1] < losses[0]


@pytest.mark.slow
def test_exported_model_answers_through_vllm(undisturbed, tmp_path):
    """In its own process, whose end frees vLLM's memory."""
    code = """
import sys
from vllm import LLM, SamplingParams
if __name__ == "__main__":
    engine = LLM(sys.argv[1], max_model_len=256, enforce_eager=True, dtype="bfloat16")
    chat = [{"role": "system", "content": "x"}, {"role": "user", "content": "the baker"}]
    [reply] = engine.chat(chat, SamplingParams(max_tokens=20, temperature=0))
    print("REPLY", reply.outputs[0].text)
"""
    script = tmp_path / "ask.py"
    script.write_text(code)
    environment = os.environ | {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_LOGGING_LEVEL": "ERROR"}
    command = [sys.executable, script, f"{undisturbed.output}/model"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert "REPLY" in done.stdout, done.stderr[-2000:]
    said = done.stdout.split("REPLY", 1)[1].split()
    assert set(said) & set(WORDS)  # a model of random weights that has learned these words


def test_packed_and_unpacked_losses_are_equal():
    """On the real small model: the other dialogues of a sequence have no influence."""
    import numpy as np
    import torch

    from factory.config import Training
    from factory.training.model import PackedLoss, build_batch, load_model

    model = PackedLoss(load_model(model_files.fetch("embedded"), Training(precision="fp32"), 0)).eval()
    draw = np.random.default_rng(0)
    lengths = [40, 7, 90, 2, 33]
    ids, mask = draw.integers(10, 40_000, sum(lengths)), draw.random(sum(lengths)) < 0.6
    packed = {"input_ids": ids, "loss_mask": mask, "lengths": lengths}
    cpu, start = torch.device("cpu"), 0
    with torch.no_grad():
        batch, dialogue = build_batch(packed, cpu)
        together = model(**batch).numpy()
        for number, length in enumerate(lengths):
            part = slice(start, start + length)
            alone, _ = build_batch({"input_ids": ids[part], "loss_mask": mask[part], "lengths": [length]}, cpu)
            assert together[dialogue == number] == pytest.approx(model(**alone).numpy(), abs=2e-4)
            start += length

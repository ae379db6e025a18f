"""Parts of training that need torch or import Ray, but no cluster."""

import io
import json
import os
import platform
import queue
import re
import shutil
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from types import SimpleNamespace

import pyarrow as pa
import pytest
import torch
import torch.distributed as dist

from factory.config import Lora, Training
from factory.errors import ConfigError, InputError, StorageError
from factory.inference.model_files import Located
from factory.records import Completion, Example, Message
from factory.runtime.progress import Progress
from factory.storage import file_io
from factory.storage.rows import ok_row
from factory.storage.schemas import EXAMPLES
from factory.storage.tables import Table
from factory.training.checkpointing import checkpoints
from factory.training.checkpointing.checkpoint_io import CheckpointIO, TrainingEnd
from factory.training.checkpointing.checkpoints import Checkpoint
from factory.training.deepspeed_engine import (
    build_optimizer,
    fix_loaded_optimizer,
    learning_rate,
    use_cores,
    zero_config,
)
from factory.training.dialogue import tokenizer_for
from factory.training.dry_run import check_attention
from factory.training.metrics_log import METRICS, MetricsLog, read_parts, write_part
from factory.training.model import PackedLoss, build_batch, load_model
from factory.training.monitor import TrainingMonitor
from factory.training.pack_step import _TOKENIZED, _pack_partition, _tokenize_shard, curated_manifest
from factory.training.preemption import StopSignal
from factory.training.validation import sum_by_dialogue
from tests.integration.small_training import save_tiny
from tests.integration.tiny_models import FAMILIES, save_model


def test_missing_validation_names_its_setting(tmp_path):
    table = Table(str(tmp_path), "curated/validation")
    table.finish({"rows_in": 0, "ok": 0})
    with pytest.raises(
        InputError, match=r"raise curation\.validation_fraction, and run `character-factory curate` again"
    ):
        curated_manifest(table)
    table.finish({"rows_in": 3, "ok": 0})
    with pytest.raises(InputError, match="none of its 3 dialogues is accepted"):
        curated_manifest(table)


def tokenized(name: str, *lengths: int, truncated: bool = False) -> dict:
    """Return a tokenized dialogue of several sequences, of which the last token is learned."""
    return {
        "dialogue_id": name, "status": "ok", "truncated": truncated,
        "input_ids": [[number * 10] * length for number, length in enumerate(lengths, 1)],
        "loss_mask": [[False] * (length - 1) + [True] for length in lengths],
    }  # fmt: skip


@pytest.mark.parametrize("learn", [False, True])
def test_stored_thoughts_are_tokenized_only_to_be_learned(tmp_path, learn):
    end = "{{ '<|im_end|>' if m.role == 'assistant' }}"
    thinks = "{% if m.thinking is defined %}<think>{{ m.thinking }}</think>{% endif %}"
    template = "{% for m in messages %}{{ m.role }}:" + thinks + "{{ m.content }}" + end + "{% endfor %}"
    model = save_model(FAMILIES[0], tmp_path, template + "{% if add_generation_prompt %}assistant:{% endif %}")
    messages = tuple(Message(role, text) for role, text in (("system", "s"), ("user", "u"), ("assistant", "Aye")))
    kinds = (("1" * 16, "generate"), ("2" * 16, "rewrite"))
    examples = [Example(name, "c", "i", "lima", strategy, messages, "train") for name, strategy in kinds]
    table = Table(str(tmp_path / "run"), "curated/train")
    table.write("0", [ok_row(one, Completion(thoughts=("HM",))) for one in examples], EXAMPLES)
    training = Training(base_model=model, learn_thoughts=learn)
    rows = _tokenize_shard(table, training, Located(model, ""), "0").to_pylist()
    decode = tokenizer_for(model, training)._tokenizer.decode
    learned = []
    for row in rows:
        (ids,), (mask,) = row["input_ids"], row["loss_mask"]
        learned.append(decode([token for token, is_learned in zip(ids, mask, strict=True) if is_learned]))
    assert learned == ["<think>HM</think>Aye<|im_end|>" if learn else "Aye<|im_end|>", "Aye<|im_end|>"]


def test_sequences_of_a_dialogue_are_packed_apart_and_counted(tmp_path):
    table = Table(str(tmp_path), "packed/train")
    rejected = {"dialogue_id": "c", "status": "rejected", "reason": "too_long"}
    rows = [tokenized("b", 3, 5, 8), rejected, tokenized("a", 4, truncated=True)]
    exchanged = SimpleNamespace(collect=lambda _: pa.Table.from_pylist(rows, schema=_TOKENIZED))
    found = _pack_partition(exchanged, table, 10, {"id": 0})
    assert found == {
        "shard": "00000", "sequences": 3, "segments": 4, "ok": 2, "too_long": 1, "tokens": 20, "learned_tokens": 4,
        "truncated_dialogues": 1,
    }  # fmt: skip
    packed = table.read("00000").to_pylist()
    assert {tuple(zip(row["dialogue_ids"], row["lengths"], strict=True)) for row in packed} == {
        (("b", 8),), (("b", 5), ("a", 4)), (("b", 3),),
    }  # fmt: skip
    for row in packed:
        starts = [sum(row["lengths"][:n]) for n in range(len(row["lengths"]) + 1)]
        assert [n + 1 for n, learned in enumerate(row["loss_mask"]) if learned] == starts[1:]
    assert sorted(token for row in packed for token in row["input_ids"]) == [10] * 7 + [20] * 5 + [30] * 8


def test_partition_without_dialogues_writes_no_sequence(tmp_path):
    rows = [{"dialogue_id": "c", "status": "rejected", "reason": "too_long"}]
    exchanged = SimpleNamespace(collect=lambda _: pa.Table.from_pylist(rows, schema=_TOKENIZED))
    table = Table(str(tmp_path), "packed/train")
    found = _pack_partition(exchanged, table, 10, {"id": 0})
    assert (found["ok"], found["segments"], found["sequences"], found["too_long"]) == (0, 0, 0, 1)


def test_validation_has_a_row_per_dialogue():
    segments = [("b", 1.0, 2), ("a", 4.0, 3), ("b", 0.5, 1)]
    rows = [{"dialogue_id": name, "loss": loss, "tokens": tokens} for name, loss, tokens in segments]
    assert sum_by_dialogue(rows).to_pydict() == {"dialogue_id": ["a", "b"], "loss": [4.0, 1.5], "tokens": [3, 3]}


def step_event(step: int) -> dict:
    return {
        "kind": "step", "step": step, "loss": 1.0, "learning_rate": 1e-3, "grad_norm": 1.0, "tokens": 9,
        "seconds": 1.0, "tokens_per_second": 9.0,
    }  # fmt: skip


@pytest.fixture
def monitor(tmp_path) -> Iterator[TrainingMonitor]:
    progress = Progress()
    progress.start(["training"], 9, "steps")
    yield TrainingMonitor(MetricsLog(str(tmp_path / "checkpoints")), progress, steps=9)
    progress.stop()


def handle(monitor: TrainingMonitor, *events: dict) -> None:
    """Let a monitor handle events until the end."""
    waiting: queue.Queue = queue.Queue()
    for event in events:
        waiting.put(event)
    ended = threading.Event()
    ended.set()
    monitor.listen(waiting, ended)


def saved_event(step: int, in_background: bool = True) -> dict:
    return {"kind": "saved", "step": step, "blocked_seconds": 7.2, "seconds": 9.0, "in_background": in_background}


def test_wait_for_a_checkpoint_is_told_where_memory_is_short(monitor, monkeypatch):
    lines: list[str] = []
    monkeypatch.setattr(monitor.progress, "print", lines.append)
    handle(monitor, saved_event(2), saved_event(4, in_background=False))
    assert len(lines) == 1
    assert lines[0].startswith("training: waited 7 s for the checkpoint of step 4; with more memory free")
    assert monitor.blocked_seconds == pytest.approx(14.4)


def test_unwritten_metrics_are_written_later(monitor, tmp_path):
    there = tmp_path / "checkpoints" / METRICS
    there.mkdir(parents=True)  # no file can be written in its place
    handle(monitor, step_event(1), saved_event(1))
    there.rmdir()
    handle(monitor, step_event(2), saved_event(2))
    assert monitor.error is None
    assert [json.loads(line)["step"] for line in there.read_text().splitlines()] == [1, 2]


def test_error_in_one_event_keeps_the_others(monitor):
    handle(monitor, {"kind": "step"}, step_event(1), {"kind": "failed", "message": "loss is NaN"})
    assert isinstance(monitor.error, KeyError)
    assert monitor.failure == "loss is NaN"
    assert [row["step"] for row in monitor.log.rows("step")] == [1]


def test_what_happens_in_training_is_told_and_counted(monitor, monkeypatch):
    lines: list[str] = []
    monkeypatch.setattr(monitor.progress, "print", lines.append)
    settings = {"kind": "settings", "step": 1, "learning_rate": 1e-3, "max_grad_norm": 1.0}
    skipped = step_event(2) | {"kind": "skipped", "loss": None, "grad_norm": None, "dialogues": ["a", "b"]}
    validation = {"kind": "validation", "step": 2, "loss": None, "perplexity": None, "dialogues": 9}
    changed = settings | {"step": 3, "learning_rate": 5e-4}
    end = {"kind": "ended", "step": 3, "stopped_early": True, "exported_step": 2}
    handle(monitor, settings, step_event(1), skipped, validation, changed, step_event(3), end)
    assert monitor.error is None
    assert [line for line in lines if "tokens/s" not in line] == [
        "training: step 2 is skipped, as its gradient is not finite (dialogues a, b)",
        "training: step 2, validation loss not finite (perplexity not finite, 9 dialogues)",
        "training: from step 3 on, learning_rate is 0.0005, and was 0.001 before",
        "training: ends early, after step 3 of 9, as training.early_stopping_patience validations brought no gain",
    ]
    assert monitor.ended == end
    assert monitor.log.facts() == {
        "skipped_steps": 1,
        "settings_changes": [{"step": 3, "setting": "learning_rate", "before": 0.001, "after": 0.0005}],
    }
    monitor.log.close()  # the plot has a gap where a loss is not finite


@pytest.mark.parametrize("lora", [None, Lora(rank=2, dropout=0.5)])
def test_loaded_model_is_in_training_mode(tmp_path, lora, monkeypatch):
    from transformers.modeling_layers import GradientCheckpointingLayer

    save_tiny(str(tmp_path))
    training = Training(precision="fp32", gradient_checkpointing=True, lora=lora)
    model = load_model(str(tmp_path), training, 0)
    assert all(module.training for module in model.modules())
    again = []
    layers = [module for module in model.modules() if isinstance(module, GradientCheckpointingLayer)]
    for layer in layers:
        layer.register_forward_pre_hook(lambda *_: again.append(1))
    row = {"input_ids": [5, 6, 7], "loss_mask": [False, True, True], "lengths": [3]}
    PackedLoss(model)(**build_batch(row, torch.device("cpu"))[0]).sum().backward()
    assert len(layers) == 2
    assert len(again) == 2 * len(layers), "each layer is computed once more in the backward pass"


def test_packed_attention_equals_masked_attention(tmp_path):
    save_tiny(str(tmp_path))
    draw = torch.Generator().manual_seed(0)
    lengths = [40, 7, 90, 2, 33]
    ids, learned = (torch.randint(0, top, (sum(lengths),), generator=draw).tolist() for top in (30, 2))
    row = {"input_ids": ids, "loss_mask": [bool(one) for one in learned], "lengths": lengths}
    found = {}
    for attention in ("packed", "sdpa"):
        model = load_model(str(tmp_path), Training(precision="fp32", attention=attention), 0)
        losses = PackedLoss(model)(**build_batch(row, torch.device("cpu"))[0])
        losses.sum().backward()
        found[attention] = losses.detach(), {name: part.grad for name, part in model.named_parameters()}
    (packed, gradients), (masked, others) = found.values()
    torch.testing.assert_close(packed, masked)
    torch.testing.assert_close(gradients, others, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_packed_attention_is_that_of_each_family(tmp_path, family):
    """Window, soft cap and sinks, each small enough to matter, against transformers' own, a dialogue at a time."""
    bites = {"sliding_window": 16} | ({"attn_logit_softcapping": 0.01} if family.name == "Gemma2" else {})
    save_model(replace(family, config=family.config | bites), tmp_path, "{{ messages }}")
    draw = torch.Generator().manual_seed(0)
    lengths = [40, 7, 90, 2]
    packed = load_model(str(tmp_path), Training(precision="fp32"), 0)
    plain = load_model(str(tmp_path), Training(precision="fp32"), 0)
    plain.set_attn_implementation("eager")
    rows = [
        {"input_ids": ids.tolist(), "loss_mask": [False, *[True] * (len(ids) - 1)], "lengths": [len(ids)]}
        for ids in torch.randint(0, 200, (sum(lengths),), generator=draw).split(lengths)
    ]
    both = {name: [item for row in rows for item in row[name]] for name in ("input_ids", "loss_mask", "lengths")}
    together = PackedLoss(packed)(**build_batch(both, torch.device("cpu"))[0])
    alone = torch.cat([PackedLoss(plain)(**build_batch(row, torch.device("cpu"))[0]) for row in rows])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)
    for losses in (together, alone):
        losses.sum().backward()
    torch.testing.assert_close(
        {name: part.grad for name, part in packed.named_parameters()},
        {name: part.grad for name, part in plain.named_parameters()},
        atol=1e-3,
        rtol=1e-3,
    )


@pytest.mark.parametrize(
    ("more", "attention", "refused"),
    [
        ({"attn_logit_softcapping": 50.0}, "sdpa", "is without a soft cap"),
        ({"attn_logit_softcapping": 50.0}, "packed", ""),
        ({"model_type": "gpt_oss"}, "sdpa", "is without attention sinks"),
        ({"model_type": "gpt_oss"}, "packed", ""),
        ({"attention_chunk_size": 64}, "packed", "packed has no chunks"),
        ({"attention_chunk_size": 64}, "sdpa", ""),
        ({"sliding_window": 64}, "packed", ""),
    ],
)
def test_attention_that_a_model_does_not_have_is_refused(tmp_path, more, attention, refused):
    save_tiny(str(tmp_path))
    config = tmp_path / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | more))
    training = Training(base_model=str(tmp_path), sequence_length=128, attention=attention)
    if not refused:
        check_attention(training)
        return
    with pytest.raises(ConfigError, match=refused):
        check_attention(training)


class NumberedAdam(torch.optim.Optimizer):
    """A stand-in for DeepSpeed's CPU Adam, which counts steps by a number."""

    def __init__(self, parameters: list[torch.nn.Parameter]) -> None:
        super().__init__(parameters, {"lr": 1e-3, "bias_correction": True})


def loaded(make: Callable[[list], torch.optim.Optimizer], step: object) -> torch.optim.Optimizer:
    """Return an optimizer of two groups as loaded from a universal checkpoint: one step count, few settings."""
    parameters = [torch.nn.Parameter(torch.ones(3)) for _ in range(2)]
    inner = make([{"params": [parameter]} for parameter in parameters])
    for group in inner.param_groups:
        for name in [name for name in group if name not in ("params", "lr", "betas", "eps", "weight_decay")]:
            del group[name]
    for parameter in parameters:
        parameter.grad = torch.ones(3)
        inner.state[parameter] = {"step": step, "exp_avg": torch.zeros(3), "exp_avg_sq": torch.zeros(3)}
    fix_loaded_optimizer(SimpleNamespace(optimizer=SimpleNamespace(optimizer=inner)))
    return inner


@pytest.mark.parametrize("step", [6, torch.tensor(6.0)])
def test_loaded_fused_adam_counts_steps_per_group(step):
    inner = loaded(lambda groups: torch.optim.AdamW(groups, fused=True), step)
    inner.step()
    assert [float(state["step"]) for state in inner.state.values()] == [7, 7]


@pytest.mark.parametrize("step", [6, torch.tensor(6.0)])
def test_loaded_cpu_adam_has_settings_and_step_count(step):
    inner = loaded(NumberedAdam, step)
    assert [group["bias_correction"] for group in inner.param_groups] == [True, True]
    assert [(state["step"], type(state["step"])) for state in inner.state.values()] == [(6, int)] * 2


def test_workers_share_the_cores(monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # as Ray sets it
    before = torch.get_num_threads()
    try:
        use_cores(2)
        assert (torch.get_num_threads(), os.environ["OMP_NUM_THREADS"]) == (4, "4")
        use_cores(16)
        assert (torch.get_num_threads(), os.environ["OMP_NUM_THREADS"]) == (1, "1")
    finally:
        torch.set_num_threads(before)


@pytest.fixture
def checkpoint_io(tmp_path, monkeypatch) -> Iterator[CheckpointIO]:
    monkeypatch.setenv("FACTORY_CACHE", str(tmp_path))
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    folder = f"memory://{uuid.uuid4().hex}/checkpoints"
    yield CheckpointIO(folder, Training(), rank=0, workers=1, local_rank=0, local_workers=1)
    dist.destroy_process_group()


def model_of(trained: int, frozen: int) -> SimpleNamespace:
    module = torch.nn.ParameterList([torch.empty(size, device="meta") for size in (trained, frozen)])
    module[1].requires_grad_(False)
    return SimpleNamespace(module=module)


def test_full_disk_ends_training_before_it_begins(checkpoint_io, tmp_path):
    with pytest.raises(TrainingEnd) as error:
        checkpoint_io.prepare(model_of(trained=10**14, frozen=0), None)
    assert str(error.value).startswith(f"{tmp_path}/checkpoints-")
    assert f" of {platform.node()}: " in str(error.value)
    assert re.search(r"GiB are free, a checkpoint takes about 1303851\.6 GiB; free some space", str(error.value))
    checkpoint_io.prepare(model_of(trained=10, frozen=10**14), None)  # frozen weights are in no checkpoint
    checkpoint_io.prepare(model_of(trained=10**14, frozen=0), Checkpoint("s3://bucket/x", 3, 1, None, {"a": (1, "")}))


class Engine(SimpleNamespace):
    """What a save needs of DeepSpeed's engine."""

    def __init__(self) -> None:
        self.state = {"moments": torch.ones(1000)}
        self.checkpoint_engine, self.device = SimpleNamespace(save=None), torch.device("cpu")
        vars(self).update(vars(model_of(trained=1000, frozen=0)))

    def zero_optimization_stage(self) -> int:
        return 2

    def save_checkpoint(self, folder: str, tag: str, **_: object) -> None:
        for name in ("mp_rank_00_model_states.pt", "zero_pp_rank_0_mp_rank_00_optim_states.pt"):
            self.checkpoint_engine.save(state_dict=self.state, path=f"{folder}/{tag}/{name}")


class Writer:
    def save(self, state_dict: object, path: str) -> None:
        raise AssertionError("nothing is written by DeepSpeed itself")


@pytest.mark.parametrize("has_memory", [True, False])
def test_checkpoint_has_the_state_at_its_begin_while_training_goes_on(checkpoint_io, monkeypatch, has_memory):
    monkeypatch.setattr("ray._common.utils.get_system_memory", lambda: 1 << (60 if has_memory else 1))
    engine = Engine()
    engine.checkpoint_engine = Writer()
    assert checkpoint_io.poll() is checkpoint_io.finish() is None
    steps = []
    for step in (1, 2, 3):
        checkpoint_io.begin(engine, step, None, None, [{"kind": "step", "step": step}])
        engine.state["moments"] += 1
        while not (saved := checkpoint_io.poll()):
            time.sleep(0.01)
        assert saved.in_background is has_memory
        assert 0 < saved.blocked_seconds <= saved.seconds
        name = next(iter(saved.checkpoint.files))
        content = file_io.read_bytes(file_io.join(saved.checkpoint.path, checkpoints.TAG, name))
        assert torch.load(io.BytesIO(content))["moments"].unique().tolist() == [step]
        steps.append(saved.checkpoint.step)
    checkpoint_io.close()
    kept = checkpoints.complete_checkpoints(checkpoint_io.folder)
    assert (steps, [each.step for each in kept]) == ([1, 2, 3], [3, 2])
    assert [row["step"] for row in read_parts(checkpoint_io.folder)] == [1, 2, 3]


def test_failed_write_ends_the_worker_at_its_next_look(checkpoint_io, monkeypatch):
    def full(*_: object) -> None:
        raise StorageError("the disk is full")

    monkeypatch.setattr("factory.training.checkpointing.checkpoint_io.write_file", full)
    engine = Engine()
    engine.checkpoint_engine = Writer()
    checkpoint_io.begin(engine, 1, None, None)
    with pytest.raises(StorageError, match="the disk is full"):
        checkpoint_io.finish()
    assert checkpoints.complete_checkpoints(checkpoint_io.folder) == []


def test_metrics_of_unfinished_checkpoints_are_dropped(checkpoint_io):
    for step in (2, 4, 5):
        write_part(checkpoint_io.folder, step, [{"kind": "step", "step": step}])
    checkpoint_io.prepare(model_of(1, 1), Checkpoint("s3://bucket/x", 4, 1, None, {"a": (1, "")}))
    assert [row["step"] for row in read_parts(checkpoint_io.folder)] == [2, 4]


def test_checkpoint_is_due_after_minutes_by_the_clock_of_the_first_worker(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("factory.training.preemption.time.monotonic", lambda: now[0])
    monkeypatch.setattr("ray.train.get_preemption_info", lambda: None)
    flag = SimpleNamespace(is_set=lambda: False)
    first = StopSignal(flag, 0, list, save_minutes=2)
    second = StopSignal(flag, 1, lambda numbers: [0, 0, 0], save_minutes=2)
    never = StopSignal(flag, 0, list)
    for signal in (first, second, never):
        signal.count_save()
    found = []
    for now[0] in (60, 119, 121, 200):
        found.append((first.poll(), second.poll(), never.poll()))
    first.count_save()
    assert found == [(None,) * 3] * 2 + [("save", None, None)] * 2
    now[0] = 300
    assert first.poll() is None


def test_leftovers_of_killed_runs_are_deleted(checkpoint_io):
    left = checkpoints.staging(checkpoint_io.folder) / ".write-5" / "state"
    left.mkdir(parents=True)
    checkpoint_io.prepare(model_of(1, 1), None)
    assert not left.parent.exists()


def test_conversion_requires_three_times_the_size(checkpoint_io, tmp_path, monkeypatch):
    runtime = SimpleNamespace(get_node_id=lambda: "node")
    monkeypatch.setattr("ray.get_runtime_context", lambda: runtime)
    size = shutil.disk_usage(tmp_path).free // 2
    saved = Checkpoint("s3://bucket/checkpoints/step-3", 3, 2, None, {"a": (size, "")})
    with pytest.raises(TrainingEnd, match="free, to convert the checkpoint for another number of workers takes about"):
        checkpoint_io.load(model_of(1, 1), saved)


@pytest.mark.parametrize(
    ("settings", "rates"),
    [
        ({}, [1.0, 0.8, 0.6, 0.4, 0.2]),
        ({"lr_scheduler_type": "constant"}, [1.0] * 5),
        ({"lr_scheduler_type": "cosine"}, [1.0, 0.882843, 0.6, 0.317157, 0.2]),
        ({"warmup_ratio": 0.4}, [0.5, 1.0, 1.0, 0.6, 0.2]),
        ({"warmup_ratio": 0.21, "lr_scheduler_type": "constant"}, [0.5, 1.0, 1.0, 1.0, 1.0]),
    ],
)
def test_learning_rate_of_each_step(settings, rates):
    training = Training(learning_rate=1.0, final_learning_rate=0.2, **settings)
    assert [learning_rate(training, step, 5) for step in range(5)] == pytest.approx(rates, abs=1e-6)


def test_learning_rate_of_a_single_step():
    assert learning_rate(Training(learning_rate=1.0), 0, 1) == 1.0
    assert learning_rate(Training(learning_rate=1.0, warmup_ratio=0.9), 0, 1) == 1.0


def test_matrices_alone_decay(tmp_path):
    save_tiny(str(tmp_path))
    model = load_model(str(tmp_path), Training(precision="fp32"), 0)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    groups = build_optimizer(model, Training(weight_decay=0.1), on_gpu=False).param_groups
    decayed, others = ({names[id(one)] for one in group["params"]} for decay in (0.1, 0.0)
                       for group in groups if group["weight_decay"] == decay)  # fmt: skip
    assert decayed | others == {*names.values()}
    assert all("proj" in name for name in decayed)
    assert all("norm" in name or "embed" in name for name in others)
    assert len(build_optimizer(model, Training(), on_gpu=False).param_groups) == 1


def test_deepspeed_settings_are_merged_last():
    more = {"zero_optimization": {"overlap_comm": False, "reduce_bucket_size": 9}, "communication_data_type": "fp32"}
    config = zero_config(Training(deepspeed=more, zero_stage=2), on_gpu=True)
    assert config["zero_optimization"] == {"stage": 2, "overlap_comm": False, "reduce_bucket_size": 9}
    assert (config["communication_data_type"], config["gradient_clipping"]) == ("fp32", 1.0)
    assert zero_config(Training(), on_gpu=True)["zero_optimization"]["overlap_comm"] is True

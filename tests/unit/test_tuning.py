"""Which settings of vLLM are tried, and how the best ones get into a config."""

from pathlib import Path

import pytest

from factory.config.loading import load_config
from factory.errors import ConfigError
from factory.tuning.config_file import write_engine_kwargs
from factory.tuning.sweep import NAMES, NGRAM, SUFFIX, Settings, SweepLimits, Trial, sweep

CPU = SweepLimits(0, False)
NODE = SweepLimits(8, True)
OWN = {"tensor_parallel_size": 2, "max_num_seqs": 256, "max_num_batched_tokens": 8192, "speculative_config": None}


def swept(cost, limits=NODE, names=NAMES, own=OWN) -> tuple[list[Settings], Trial]:
    tried: list[Settings] = []

    def run(changes: Settings) -> Trial:
        tried.append(changes)
        found = cost({**own, **changes})
        return Trial(changes, cost=found) if found else Trial(changes, problem="out of memory")

    *_, (_, best) = sweep(names, lambda changes: {**own, **changes}, limits, run)
    return tried, best


def test_each_setting_goes_on_from_the_best_before_it():
    """The best replica has one GPU, 512 rows at a time, large steps, and speculates by suffixes."""

    def cost(settings: Settings) -> float:
        return (
            settings["tensor_parallel_size"]
            + abs(settings["max_num_seqs"] - 512) / 256
            + 16_384 / settings["max_num_batched_tokens"]
            + (settings["speculative_config"] != SUFFIX)
        )

    tried, best = swept(cost)
    assert best.changes == {
        "tensor_parallel_size": 1,
        "max_num_seqs": 512,
        "max_num_batched_tokens": 16_384,
        "speculative_config": SUFFIX,
    }
    assert tried[:3] == [{}, {"tensor_parallel_size": 4}, {"tensor_parallel_size": 1}]
    assert {"tensor_parallel_size": 1, "max_num_seqs": 1024} in tried
    assert not any(settings.get("max_num_seqs") == 128 for settings in tried)  # twice as many were better
    assert len(tried) == 7


def test_small_gains_and_failures_change_nothing():
    tried, best = swept(lambda settings: 100 if settings == OWN else 96 if settings["max_num_seqs"] == 512 else None)
    assert best.changes == {}
    assert {"max_num_seqs": 512} in tried
    assert {"speculative_config": NGRAM} in tried
    assert {"tensor_parallel_size": 8} not in tried  # four GPUs were no better


def test_a_cpu_has_rows_and_speculation_to_try():
    tried, _ = swept(lambda settings: 1.0, CPU)
    assert [list(changes) for changes in tried] == [[], ["max_num_seqs"], ["max_num_seqs"], ["speculative_config"]]
    assert tried[-1] == {"speculative_config": NGRAM}


def test_speculation_of_the_config_is_tried_without():
    own = {**OWN, "speculative_config": NGRAM}
    tried, best = swept(lambda settings: 1.0 if settings["speculative_config"] else 0.5, CPU, own=own)
    assert tried[-1] == best.changes == {"speculative_config": None}
    assert best.title == "speculative_config off"


def test_only_named_settings_are_tried():
    tried, _ = swept(lambda settings: 1.0, names=("max_num_batched_tokens",))
    assert tried == [{}, {"max_num_batched_tokens": 16_384}, {"max_num_batched_tokens": 4096}]


CONFIG = """\
# Of the team.
output: runs/mine
engine:
  kind: vllm
  model: "embedded"  # small
  engine_kwargs: {max_model_len: 4096, max_num_seqs: 64}
seed: 7
"""


def test_written_settings_leave_the_rest_of_a_config_as_it_was(tmp_path):
    path = tmp_path / "my.yaml"
    path.write_text(CONFIG)
    write_engine_kwargs(str(path), {"max_num_seqs": 128, "speculative_config": NGRAM})
    kept = [line for line in CONFIG.splitlines() if "kwargs" not in line]
    assert [line for line in path.read_text().splitlines() if line in kept] == kept
    kwargs = load_config(str(path), []).engine.engine_kwargs
    assert kwargs == {"max_model_len": 4096, "max_num_seqs": 128, "speculative_config": NGRAM}
    write_engine_kwargs(str(path), {"speculative_config": None})
    assert "speculative_config" not in load_config(str(path), []).engine.engine_kwargs


def test_a_config_without_engine_kwargs_gets_them(tmp_path):
    path = tmp_path / "my.yaml"
    path.write_text("output: runs/mine\nengine: {kind: vllm, model: embedded}\n")
    write_engine_kwargs(str(path), {"max_num_seqs": 128})
    assert load_config(str(path), []).engine.engine_kwargs == {"max_num_seqs": 128}


def test_a_config_without_an_engine_is_refused(tmp_path):
    path = Path(tmp_path, "my.yaml")
    path.write_text("output: runs/mine\n")
    with pytest.raises(ConfigError, match="has no section engine"):
        write_engine_kwargs(str(path), {"max_num_seqs": 128})

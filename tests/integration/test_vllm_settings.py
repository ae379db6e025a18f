"""What a config gives vLLM, against vLLM's own classes of settings, which take those of GPUs without one."""

import json
import subprocess
import sys

import pytest

from factory.config import ServedModel, VllmEngine
from factory.errors import ConfigError
from factory.inference import model_files
from factory.inference.engines import vllm_settings
from factory.inference.engines.gpu_memory import UNKNOWN
from factory.inference.engines.vllm import VllmBackend
from factory.inference.engines.vllm_settings import check_speculation, completed_kwargs, max_concurrency, with_defaults
from tests.integration.runs import PROJECT

RESOLVE = """
import json, sys
from vllm import AsyncEngineArgs
from factory.config import VllmEngine
from factory.inference import model_files
from factory.inference.engines.vllm_settings import completed_kwargs

for settings in json.loads(sys.argv[1]):
    engine = VllmEngine(model="embedded", device="gpu", **settings)
    kwargs = completed_kwargs(engine, 7)
    resolved = AsyncEngineArgs(model=model_files.fetch("embedded"), **kwargs).create_engine_config()
    speculation = resolved.speculative_config
    print(json.dumps([
        resolved.scheduler_config.max_num_seqs,
        resolved.scheduler_config.max_num_batched_tokens,
        speculation and [speculation.method, speculation.num_speculative_tokens],
        resolved.model_config.quantization,
        resolved.cache_config.cache_dtype,
    ]))
"""
NGRAM = {"method": "ngram", "num_speculative_tokens": 4, "prompt_lookup_max": 4}


def test_vllm_takes_all_that_a_config_for_gpus_makes():
    cases = [
        {},
        {"accelerator_type": "H100"},
        {"engine_kwargs": {"quantization": "fp8", "kv_cache_dtype": "fp8"}},
        {"engine_kwargs": {"speculative_config": NGRAM}},
        {"engine_kwargs": {"enable_chunked_prefill": False, "max_model_len": 4096}},
        {"engine_kwargs": {"max_num_seqs": 10_000, "data_parallel_size": 1, "compilation_config": {"mode": 0}}},
    ]
    command = [sys.executable, "-c", RESOLVE, json.dumps(cases)]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr[-3000:]
    assert [json.loads(line) for line in done.stdout.splitlines() if line.startswith("[")] == [
        [UNKNOWN, 8192, None, None, "auto"],
        [1024, 16384, None, None, "auto"],
        [UNKNOWN, 8192, None, "fp8", "fp8"],
        [UNKNOWN, 8192, ["ngram", 4], None, "auto"],
        [UNKNOWN, 4096, None, None, "auto"],  # as many as the longest prompt
        [10_000, 10_000, None, None, "auto"],  # one for each row
    ]


def test_chat_template_kwargs_decide_what_is_asked():
    """So they are in the fingerprint of tables, and engines with others are others."""
    plain, thinking = (
        VllmBackend(VllmEngine(model="embedded", chat_template_kwargs=kwargs))
        for kwargs in ({}, {"enable_thinking": True})
    )
    located = model_files.Located("embedded", "r")
    assert plain.fingerprint_settings() != thinking.fingerprint_settings()
    assert plain.pool_key(located, 0) != thinking.pool_key(located, 0)
    assert thinking.pool_settings(located, 0).start.args[2] == {"enable_thinking": True}


def test_what_a_config_gives_comes_first():
    given = {"max_num_seqs": 7, "max_num_batched_tokens": 99, "enable_prefix_caching": False}
    engine = VllmEngine(model="embedded", device="gpu", accelerator_type="H100", engine_kwargs=given)
    assert completed_kwargs(engine, 0).items() >= given.items()
    assert max_concurrency(engine, True) == 7
    judge = ServedModel(name="a", model="embedded", device="gpu", engine_kwargs={"max_num_seqs": 7})
    assert with_defaults(judge, max_num_seqs=64)["max_num_seqs"] == 7


def test_a_plan_counts_the_rows_that_the_engine_gets():
    for device in ("cpu", "gpu"):
        engine = VllmEngine(model="embedded", device=device)
        assert max_concurrency(engine, device == "gpu") == completed_kwargs(engine, 0)["max_num_seqs"]


def test_speculation_by_suffixes_takes_a_package(monkeypatch):
    suffixes = {"speculative_config": {"method": "suffix"}}
    monkeypatch.setattr(vllm_settings, "find_spec", lambda name: None)
    with pytest.raises(
        ConfigError, match=r"method suffix, which needs the package arctic-inference.* or take method: ng"
    ):
        check_speculation(suffixes)
    check_speculation({"speculative_config": NGRAM})
    check_speculation({})
    monkeypatch.setattr(vllm_settings, "find_spec", lambda name: name)
    check_speculation(suffixes)

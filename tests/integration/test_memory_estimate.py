"""The estimated memory of a training process, against a real one and DeepSpeed's own estimate."""

import json
import os
import re
import subprocess
import sys

import pytest
import torch
import transformers
from deepspeed.runtime.zero.stage3 import estimate_zero3_model_states_mem_needs
from transformers import AutoModelForCausalLM, LlamaConfig

from factory.config import Training
from factory.errors import ConfigError
from factory.training.memory_check import check_memory
from factory.training.memory_estimate import estimate_memory
from tests.integration import memory_steps
from tests.integration.tiny_models import BASE_FAMILIES, FAMILIES, SIZES, Family

GB = 10**9
LLAMA_3_8B = {
    "vocab_size": 128_256, "hidden_size": 4096, "intermediate_size": 14_336, "num_hidden_layers": 32,
    "num_attention_heads": 32, "num_key_value_heads": 8, "max_position_embeddings": 131_072,
}  # fmt: skip


GROWING = Family(
    "Llama", "", (), config={"rope_parameters": {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 1e4}}
)
"""Frequencies that a forward pass chooses by the longest position, as those of Phi3 among the others."""


@pytest.fixture
def llama_3_8b(tmp_path) -> str:
    """The folder of a model without weights."""
    LlamaConfig(**LLAMA_3_8B).save_pretrained(tmp_path)
    return str(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [
        {"precision": "fp32", "zero_stage": 1, "num_workers": 1, "sequence_length": 1024},
        {"precision": "fp32", "zero_stage": 3, "num_workers": 2, "gradient_checkpointing": True},
        {"precision": "bf16", "zero_stage": 2, "num_workers": 2},
    ],
)
def test_estimate_is_what_a_process_takes(settings, tmp_path):
    memory_steps.write_model(str(tmp_path), hidden=832, layers=8, vocabulary=40_000)
    memory_steps.write_model(str(tmp_path / "tiny"), hidden=16, layers=1, vocabulary=64)
    settings = {"sequence_length": 512, "global_batch_size": 2 * settings["num_workers"], **settings}
    done = subprocess.run(
        [sys.executable, "-m", "tests.integration.memory_steps", str(tmp_path), json.dumps(settings)],
        env=os.environ | {"MALLOC_MMAP_THRESHOLD_": "65536"}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    found = json.loads(done.stdout.splitlines()[-1])
    estimate = estimate_memory(str(tmp_path), Training(base_model=str(tmp_path), **settings), on_gpu=False)
    assert vars(estimate) == found["parts"]
    assert estimate.states > GB
    assert found["measured"] == pytest.approx([estimate.total] * settings["num_workers"], rel=0.15)


@pytest.mark.parametrize("precision", ["bf16", "fp32"])
@pytest.mark.parametrize("family", [*FAMILIES, *BASE_FAMILIES, GROWING], ids=lambda family: family.name)
def test_each_architecture_is_counted(family, precision, tmp_path):
    """Latent attention, experts, sliding windows: the forward pass on `meta` is the model's own."""
    ends = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
    kind = family.name + ("Text" if family.name == "Gemma3" else "")
    config = getattr(transformers, f"{kind}Config")(vocab_size=512, **SIZES | ends | family.config)
    config.save_pretrained(tmp_path)
    training = Training(base_model=str(tmp_path), precision=precision, sequence_length=256)
    found, longer = (
        estimate_memory(str(tmp_path), training.model_copy(update={"sequence_length": tokens}), on_gpu=False)
        for tokens in (256, 512)
    )
    parameters = getattr(transformers, f"{family.name}ForCausalLM")(config).num_parameters()
    assert found.states == parameters * (12 + 2 * (2 if precision == "bf16" else 4))
    assert longer.activations == pytest.approx(2 * found.activations, rel=0.05)


def test_nested_configs_are_read(tmp_path):
    text = {
        "vocab_size": 64, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 6, "num_attention_heads": 2,
        "num_key_value_heads": 1, "head_dim": 8, "sliding_window": 8,
    }  # fmt: skip
    vision = {
        "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 28,
        "patch_size": 14,
    }  # fmt: skip
    transformers.Gemma3Config(text_config=text, vision_config=vision, mm_tokens_per_image=4).save_pretrained(tmp_path)
    training = Training(base_model=str(tmp_path), precision="fp32", sequence_length=64)
    assert estimate_memory(str(tmp_path), training, on_gpu=False).activations > 6 * 64 * 16 * 4


@pytest.mark.parametrize(
    ("settings", "way_out"),
    [
        ({"num_workers": 8}, "set gradient_checkpointing: true"),
        ({"num_workers": 4}, "set gradient_checkpointing: true, offload: optimizer"),
        ({"num_workers": 8, "sequence_length": 131_072}, "raise num_workers, lower sequence_length, or train adapters"),
    ],
)
def test_a_gpu_that_is_too_small_is_refused_with_what_would_fit(llama_3_8b, settings, way_out):
    training = Training(base_model=llama_3_8b, accelerator_type="A100", **settings)
    with pytest.raises(ConfigError, match=re.escape(way_out)) as told:
        check_memory(training)
    assert "accelerator_type is A100, which has 39 GiB, and a training process needs about" in str(told.value)


def test_a_gpu_that_is_large_enough_is_told_its_memory(llama_3_8b):
    said = check_memory(Training(base_model=llama_3_8b, accelerator_type="H100", num_workers=8))
    assert re.fullmatch(r"Memory: about \d+\.\d GiB per GPU \(states 15\.\d, activations .*, runtime 2\.0\)", said)


def test_states_of_8_billion_parameters_are_deepspeeds_estimate(llama_3_8b):
    training = Training(base_model=llama_3_8b, num_workers=8, precision="bf16")
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(LlamaConfig(**LLAMA_3_8B))
    _, theirs, largest = estimate_zero3_model_states_mem_needs(
        sum(p.numel() for p in model.parameters()), max(p.numel() for p in model.parameters()), num_gpus_per_node=8,
        cpu_offload=False, cpu_offload_params=False,
    )  # fmt: skip
    assert estimate_memory(llama_3_8b, training, on_gpu=True).states == pytest.approx(theirs - largest, rel=0.15)

"""How many rows a replica on GPUs works on at a time."""

import json

import pytest

from factory.inference.engines import gpu_memory
from factory.inference.engines.gpu_memory import ModelSize, default_slots, is_large, read_size, rows_in_cache

LLAMA_1B = ModelSize(2.5e9, 16, 8, 64, False)
LLAMA_8B = ModelSize(16e9, 32, 8, 128, False)
LLAMA_70B = ModelSize(141e9, 80, 8, 128, False)
SHAPE = {"num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "hidden_size": 32}


@pytest.mark.parametrize(
    ("gpu", "size", "engine_kwargs", "rows"),
    [
        ("H100", LLAMA_1B, {}, 1024),
        ("H100", LLAMA_8B, {}, 416),
        ("H100", LLAMA_8B, {"kv_cache_dtype": "fp8"}, 832),
        ("H100", LLAMA_8B, {"quantization": "fp8"}, 480),
        ("H200", LLAMA_8B, {}, 864),
        ("L4", LLAMA_8B, {}, 256),
        ("H100", LLAMA_70B, {"tensor_parallel_size": 8}, 1024),
        ("H100", LLAMA_70B, {"tensor_parallel_size": 4}, 448),
        ("H100", LLAMA_70B, {"tensor_parallel_size": 4, "gpu_memory_utilization": 0.8}, 320),
    ],
)
def test_rows_are_as_many_as_the_cache_holds_beside_the_weights(gpu, size, engine_kwargs, rows):
    assert rows_in_cache(gpu_memory.MEMORY_GIB[gpu], size, engine_kwargs) == rows


def test_a_quantized_model_is_not_halved_again():
    quantized = ModelSize(8e9, 32, 8, 128, True)
    assert rows_in_cache(79, quantized, {"quantization": "fp8"}) == rows_in_cache(79, quantized, {})


def test_more_gpus_than_heads_each_hold_one_whole_head():
    size = ModelSize(0, 80, 4, 128, False)
    four, eight = (rows_in_cache(22, size, {"tensor_parallel_size": number}) for number in (4, 8))
    assert eight == four


def written(folder, config: dict, **files: bytes) -> str:
    (folder / "config.json").write_text(json.dumps(config))
    for name, content in files.items():
        (folder / f"{name.replace('__', '.')}").write_bytes(content)
    return str(folder)


def test_a_models_size_is_read_from_its_small_files(tmp_path):
    index = json.dumps({"metadata": {"total_size": 700}}).encode()
    folder = written(tmp_path, SHAPE, model__safetensors__index__json=index)
    assert read_size(folder) == ModelSize(700, 2, 2, 8, False)


def test_of_a_model_in_one_file_the_file_counts_and_without_it_a_bound(tmp_path):
    folder = written(tmp_path, {**SHAPE, "head_dim": 16, "quantization_config": {}})
    assert read_size(folder) == ModelSize(gpu_memory.ONE_FILE_BYTES, 2, 2, 16, True)
    assert read_size(written(tmp_path, SHAPE, model__safetensors=b"12345")) == ModelSize(5, 2, 2, 8, False)


def test_a_vision_language_model_has_its_shape_a_level_deeper(tmp_path):
    assert read_size(written(tmp_path, {"text_config": SHAPE, "hidden_size": 1})).head_size == 8


@pytest.mark.parametrize("config", [{}, {**SHAPE, "kv_lora_rank": 512}, {**SHAPE, "num_hidden_layers": "two"}])
def test_a_model_of_another_shape_is_not_known(tmp_path, config):
    assert read_size(written(tmp_path, config)) is None
    assert default_slots("H100", str(tmp_path), {}) == gpu_memory.UNKNOWN


def test_without_a_kind_of_gpu_no_model_is_read(tmp_path):
    unread = [default_slots(None, str(tmp_path / "not here"), {}), default_slots("mine", "org/name", {})]
    assert unread == [gpu_memory.UNKNOWN] * 2


def test_a_model_that_is_not_here_is_not_known(tmp_path):
    assert default_slots("H100", str(tmp_path / "not here"), {}) == gpu_memory.UNKNOWN


def test_large_batches_are_for_large_gpus_but_for_the_a100():
    assert [kind for kind in gpu_memory.MEMORY_GIB if is_large(kind)] == ["H100", "H20", "H200", "B200"]
    assert not is_large(None)

"""config.json by the names that transformers 4 reads."""

import pytest

from factory.training.earlier_keys import with_earlier_keys

LLAMA_3 = {
    "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}  # fmt: skip
LONG = {"short_factor": [1.0, 1.1], "long_factor": [2.0, 2.1]}
GEMMA_3 = {
    "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1e6},
    "sliding_attention": {"rope_type": "default", "rope_theta": 1e4},
}


@pytest.mark.parametrize(
    ("config", "added"),
    [
        ({"rope_parameters": LLAMA_3 | {"rope_theta": 5e5}}, {"rope_theta": 5e5, "rope_scaling": LLAMA_3}),
        ({"rope_parameters": {"rope_type": "default", "rope_theta": 1e6}}, {"rope_theta": 1e6, "rope_scaling": None}),
        (
            {"rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "partial_rotary_factor": 0.5}},
            {"rope_theta": 1e4, "rope_scaling": None, "partial_rotary_factor": 0.5},
        ),
        (
            {"rope_parameters": {
                "rope_type": "longrope", "rope_theta": 1e4, "original_max_position_embeddings": 4096, **LONG,
            }},
            {
                "rope_theta": 1e4, "rope_scaling": {"type": "longrope", **LONG},
                "original_max_position_embeddings": 4096,
            },
        ),
        (
            {"model_type": "gemma3_text", "rope_parameters": GEMMA_3},
            {
                "rope_theta": 1e6, "rope_scaling": {"rope_type": "linear", "factor": 8.0}, "rope_local_base_freq": 1e4,
            },
        ),
        ({"model_type": "new", "rope_parameters": GEMMA_3}, {}),  # its layers are unknown to transformers 4
        ({"dtype": "bfloat16"}, {"torch_dtype": "bfloat16"}),
        ({"rope_parameters": None, "dtype": None}, {}),
        ({"model_type": "gpt2"}, {}),
    ],
)  # fmt: skip
def test_earlier_keys_stand_beside_the_new_ones(config, added):
    assert with_earlier_keys(config) == config | added
    assert with_earlier_keys({"text_config": config}) == {"text_config": config | added}
    assert with_earlier_keys(with_earlier_keys(config)) == config | added

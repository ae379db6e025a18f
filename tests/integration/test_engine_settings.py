"""Which settings of an engine begin a new table, and which leave the old one be."""

import pytest

from factory.config import OpenAIEngine, Sampling, ServedModel, VllmEngine, fingerprint_kwargs
from factory.inference.generation_step import EngineUse
from factory.inference.model_files import Located
from factory.storage.tables import compute_fingerprint

KWARGS = {"tensor_parallel_size": 8, "max_num_seqs": 64, "gpu_memory_utilization": 0.8, "enforce_eager": True}


def fingerprint(config: VllmEngine | OpenAIEngine) -> str:
    return compute_fingerprint(EngineUse(config, Sampling(), 42, Located(config.model, "1")).settings())


def vllm(**engine_kwargs: object) -> str:
    return fingerprint(VllmEngine(model="org/name", engine_kwargs=engine_kwargs))


def endpoint(**settings: object) -> str:
    return fingerprint(OpenAIEngine(kind="openai", model="gpt-4o", **settings))


@pytest.mark.parametrize(
    "changed",
    [{"dtype": "float32"}, {"quantization": "fp8"}, {"kv_cache_dtype": "fp8"}, {"max_model_len": 512},
     {"logits_processors": ["a:B"]}, {"load_format": "dummy"}, {"anew": 1},
     {"speculative_config": {"method": "ngram", "rejection_sample_method": "synthetic"}}],
)  # fmt: skip
def test_what_changes_rows_begins_a_new_table(changed):
    assert vllm(**KWARGS, **changed) != vllm(**KWARGS)


def test_where_and_how_fast_an_engine_works_does_not():
    assert vllm(**KWARGS) == vllm()
    assert vllm(dtype="float32", **KWARGS) == vllm(dtype="float32", compilation_config={"mode": 0})


@pytest.mark.parametrize(
    "changed",
    [{"speculative_config": {"method": "ngram", "num_speculative_tokens": 4}},
     {"speculative_config": {"model": "org/draft", "rejection_sample_method": "block"}},
     {"load_format": "runai_streamer"}],
)  # fmt: skip
def test_nor_does_what_leaves_the_weights_and_the_distribution_of_replies_as_they_are(changed):
    assert vllm(**changed) == vllm()
    assert fingerprint(VllmEngine(model="org/name", accelerator_type="H100")) == vllm()


def test_how_an_endpoint_is_told_of_the_shape_does_and_how_it_is_reached_does_not():
    assert endpoint(structured="none") != endpoint()
    assert endpoint(base_url="http://127.0.0.1:1/v1", max_concurrency=1, max_retries=0) == endpoint()


def test_a_judges_own_seed_is_among_what_decides():
    judge = ServedModel(name="a", model="embedded", engine_kwargs={**KWARGS, "seed": 7, "max_model_len": 4096})
    assert fingerprint_kwargs(judge.engine_kwargs) == {"seed": 7, "max_model_len": 4096}

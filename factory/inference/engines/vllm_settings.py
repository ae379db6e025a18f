"""What vLLM is told, and what a replica of it needs of Ray: from a config's settings alone, without importing vLLM."""

import os
from typing import Any

from factory.config import VllmEngine, workers
from factory.runtime.ray_session import fast_bf16, on_gpu

GUIDE = {"backend": "guidance", "disable_any_whitespace": True}
"""xgrammar, vLLM's own choice, lets a string with a `maxLength` hold no quotation mark, backslash or line break, so
that no code or paragraphs could be written; with escapes in its grammar a mask takes 0.8 s in place of 40 µs."""

CPU_DEFAULTS = {"enforce_eager": True, "max_num_seqs": 64, "block_size": 32, "distributed_executor_backend": "mp"}
"""Eager mode starts in half a minute; more sequences than 64 gain nothing on a few cores. vLLM's own blocks of 128
tokens leave much of a prefix out of the cache: of the 252 tokens that all profile prompts begin with, 128."""

GPU_DEFAULTS = {"max_num_seqs": 256}


def engine_defaults(gpu: bool) -> dict[str, Any]:
    """Return vLLM's settings where a config's `engine_kwargs` leave them out."""
    ours = GPU_DEFAULTS if gpu else {**CPU_DEFAULTS, "dtype": "bfloat16" if fast_bf16(gpu) else "float32"}
    return {**ours, "trust_remote_code": False}


def max_concurrency(engine: VllmEngine, gpu: bool) -> int:
    """Return how many requests one replica answers at the same time."""
    defaults = GPU_DEFAULTS if gpu else CPU_DEFAULTS
    return int(str(engine.engine_kwargs.get("max_num_seqs", defaults["max_num_seqs"])))


def completed_kwargs(engine: VllmEngine, seed: int) -> dict[str, Any]:
    """Return vLLM's settings; the seed is the engine's, as a seed per request would end the engine on a CPU."""
    defaults = engine_defaults(on_gpu(engine.device))
    if workers(engine.engine_kwargs) > 1:
        # By itself Ray takes `ray`, whose placement groups keep their GPUs until the job ends
        # (ray-project/ray#64035): the next table's engine would wait for them forever.
        defaults = {**defaults, "distributed_executor_backend": "mp"}
    ours = {"seed": seed, "enable_prefix_caching": True, "structured_outputs_config": GUIDE}
    return {**defaults, **ours, **engine.engine_kwargs}


def process_resources(engine: VllmEngine) -> dict[str, float]:
    """Return what each process of a replica needs."""
    return {"CPU": 1, "GPU": 1} if on_gpu(engine.device) else {"CPU": 1}


def replica_resources(engine: VllmEngine) -> dict[str, float]:
    """Return what a replica needs, all of it on one node."""
    return {name: number * workers(engine.engine_kwargs) for name, number in process_resources(engine).items()}


def cpu_environment() -> dict[str, str]:
    """Return defaults of environment variables for a vLLM that has a machine's CPUs to itself."""
    environment = {"VLLM_CPU_KVCACHE_SPACE": "2"}  # GiB; unset, vLLM takes half of the machine's memory
    if (os.cpu_count() or 1) <= 2:  # the core that vLLM leaves free is half of these: 44 tokens a second, not 71
        environment["VLLM_CPU_NUM_OF_RESERVED_CPU"] = "0"
    return environment

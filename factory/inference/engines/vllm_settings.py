"""The settings of vLLM, and what a replica of it needs of Ray: from a config alone, without importing vLLM."""

import os
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

from factory.config import PROCESS_COUNTS, ServedModel, VllmEngine, workers
from factory.errors import ConfigError
from factory.inference.engines.gpu_memory import UNKNOWN, default_slots, is_large
from factory.records import Request
from factory.runtime.capacity import ACCELERATOR, IO_TASK, Bundle, check_capacity
from factory.runtime.ray_session import fast_bf16, on_gpu

GUIDE = {"backend": "guidance", "disable_any_whitespace": True}
"""xgrammar, vLLM's own choice, lets a string with a `maxLength` hold no quotation mark, backslash or line break, so
that no code or paragraphs could be written; with escapes in its grammar a mask takes 0.8 s in place of 40 µs."""

CPU_DEFAULTS = {"enforce_eager": True, "max_num_seqs": 64, "block_size": 32, "distributed_executor_backend": "mp"}
"""Eager mode starts in half a minute; more sequences than 64 gain nothing on a few cores. vLLM's own blocks of 128
tokens leave much of a prefix out of the cache: of the 252 tokens that all profile prompts begin with, 128."""

GPU_DEFAULTS = {"max_num_seqs": UNKNOWN, "max_num_batched_tokens": 8192}
"""vLLM would take 128 and 2,048, its numbers for an engine that is started neither by its class `LLM` nor by its
server. A step has a token of each row that is running, and the prompts of those that begin."""
LARGE_GPU_TOKENS = 16_384


def engine_defaults(gpu: bool, accelerator_type: str | None = None) -> dict[str, Any]:
    """Return vLLM's settings where a config's `engine_kwargs` leave them out."""
    ours: dict[str, Any] = {**CPU_DEFAULTS, "dtype": "bfloat16" if fast_bf16(gpu) else "float32"}
    if gpu:
        ours = GPU_DEFAULTS | ({"max_num_batched_tokens": LARGE_GPU_TOKENS} if is_large(accelerator_type) else {})
    return {**ours, "trust_remote_code": False}


def with_defaults(engine: VllmEngine | ServedModel, **ours: Any) -> dict[str, Any]:
    """Return the settings of a config's engine with the defaults, and with `ours`, where it leaves them out."""
    given = engine.engine_kwargs
    settings = {**engine_defaults(on_gpu(engine.device), engine.accelerator_type), **ours, **given}
    if "max_num_batched_tokens" in settings.keys() - given.keys():
        if settings.get("enable_chunked_prefill") is False:  # a step must have the tokens of the longest prompt
            del settings["max_num_batched_tokens"]
        else:
            settings["max_num_batched_tokens"] = max(settings["max_num_batched_tokens"], settings["max_num_seqs"])
    return settings


def max_concurrency(engine: VllmEngine, gpu: bool) -> int:
    """Return how many requests one replica answers at the same time."""
    given = engine.engine_kwargs
    if gpu and "max_num_seqs" not in given:
        return default_slots(engine.accelerator_type, engine.model, given)
    return int(str(given.get("max_num_seqs", CPU_DEFAULTS["max_num_seqs"])))


def completed_kwargs(engine: VllmEngine, seed: int) -> dict[str, Any]:
    """Return vLLM's settings; the seed is the engine's, as a seed per request would end the engine on a CPU."""
    ours: dict[str, Any] = {
        "seed": seed,
        "max_num_seqs": max_concurrency(engine, on_gpu(engine.device)),
        "enable_prefix_caching": True,
        "structured_outputs_config": GUIDE,
    }
    if workers(engine.engine_kwargs) > 1:
        # By itself Ray takes `ray`, whose placement groups keep their GPUs until the job ends
        # (ray-project/ray#64035): the next table's engine would wait for them forever.
        ours["distributed_executor_backend"] = "mp"
    return with_defaults(engine, **ours)


def node_labels(engine: VllmEngine | ServedModel) -> dict[str, str]:
    """Return the labels that the node of a replica must have."""
    return {ACCELERATOR: engine.accelerator_type} if engine.accelerator_type else {}


def replica_bundle(engine: VllmEngine) -> Bundle:
    """Return what a replica needs, all of it on one node."""
    processes = workers(engine.engine_kwargs)
    resources = {"CPU": processes, "GPU": processes} if on_gpu(engine.device) else {"CPU": processes}
    return Bundle(resources, node_labels(engine))


def check_replicas_fit(engine: VllmEngine) -> None:
    """Check that the cluster can hold the fewest replicas beside a task that reads and writes rows.

    Raises:
        ConfigError: it cannot; the line names what is too large, one replica or all of them.
    """
    replica = replica_bundle(engine)
    if given := [f"{name} {engine.engine_kwargs[name]}" for name in PROCESS_COUNTS if name in engine.engine_kwargs]:
        check_capacity([replica], f"engine.engine_kwargs ({', '.join(given)})")
    check_capacity([*[replica] * engine.replicas[0], IO_TASK], "engine.replicas")


def check_speculation(engine_kwargs: Mapping[str, Any]) -> None:
    """Check that the package is installed without which vLLM cannot speculate by suffixes.

    Raises:
        ConfigError: it is not.
    """
    speculation = engine_kwargs.get("speculative_config")
    method = speculation.get("method") if isinstance(speculation, dict) else None
    if method == "suffix" and find_spec("arctic_inference") is None:
        raise ConfigError(
            "engine_kwargs.speculative_config has method suffix, which needs the package arctic-inference; it is not "
            "installed: install it on every machine, or take method: ngram"
        )


def closes_thoughts(request: Request, engine_kwargs: Mapping[str, Any]) -> bool:
    """Return whether the reply to a request begins without thoughts.

    A guided one does, as the guide holds from its first token on: a thought would be written as JSON. With a
    `reasoning_parser` vLLM guides from the end of the thought on.
    """
    given = engine_kwargs.get("structured_outputs_config")
    parsers = [engine_kwargs, given if isinstance(given, Mapping) else {}]
    return bool(request.schema) and not any(each.get("reasoning_parser") for each in parsers)


def cpu_environment() -> dict[str, str]:
    """Return defaults of environment variables for a vLLM that has a machine's CPUs to itself."""
    environment = {"VLLM_CPU_KVCACHE_SPACE": "2"}  # GiB; unset, vLLM takes half of the machine's memory
    if (os.cpu_count() or 1) <= 2:  # the core that vLLM leaves free is half of these: 44 tokens a second, not 71
        environment["VLLM_CPU_NUM_OF_RESERVED_CPU"] = "0"
    return environment

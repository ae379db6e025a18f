"""Text generation by vLLM actors on Ray Data, built by `ray.data.llm`.

Ray's processor gives the actor pool, its autoscaling and the engine's wrapper. A replica is one
actor with all of its GPUs, on one node. The engine stage's UDF is ours, because Ray's answers one
request a row: here a row is a shard, its requests run at once, dialogues go on turn by turn inside
the engine (the history is a prefix-cache hit), and an engine that dies is started again and the
request that kills it found. Rendering and tokenising happen before, in the tasks that read the shards.
"""

import os
import pickle
from functools import cache
from typing import Any

import numpy as np
from ray.data import Dataset

from factory.config import Sampling, VllmEngine, workers
from factory.inference import model_files
from factory.inference.chat_template import ChatTokenizer
from factory.inference.model_files import Located
from factory.inference.window import shards_in_flight
from factory.records import Request
from factory.runtime.capacity import IO_TASK, check_capacity
from factory.runtime.ray_session import fast_bf16, on_gpu

GUIDE = {"backend": "guidance", "disable_any_whitespace": True}
"""xgrammar, vLLM's own choice, lets a string with a `maxLength` hold no quotation mark, backslash or line break, so
that no code or paragraphs could be written; with escapes in its grammar a mask takes 0.8 s in place of 40 µs."""

CPU_DEFAULTS = {"enforce_eager": True, "max_num_seqs": 64, "block_size": 32, "distributed_executor_backend": "mp"}
"""Eager mode starts in half a minute; more sequences than 64 gain nothing on a few cores. vLLM's own blocks of 128
tokens leave much of a prefix out of the cache: of the 252 tokens that all profile prompts begin with, 128."""

GPU_DEFAULTS = {"max_num_seqs": 256}


def engine_defaults(gpu: bool) -> dict[str, Any]:
    """What vLLM is told where a config's `engine_kwargs` say nothing."""
    own = GPU_DEFAULTS if gpu else {**CPU_DEFAULTS, "dtype": "bfloat16" if fast_bf16(gpu) else "float32"}
    return {**own, "trust_remote_code": False}


def cpu_environment() -> dict[str, str]:
    """What vLLM finds in the environment, where that says nothing else, when it has a machine's CPUs to itself."""
    environment = {"VLLM_CPU_KVCACHE_SPACE": "2"}  # GiB; unset, vLLM takes half of the machine's memory
    if (os.cpu_count() or 1) <= 2:  # the core that vLLM leaves free is half of these: 44 tokens a second, not 71
        environment["VLLM_CPU_NUM_OF_RESERVED_CPU"] = "0"
    return environment


class VllmGeneration:
    """Answers shards of requests with vLLM.

    Args:
        engine: where and how many.
        model: which, so that all machines load the same revision.
        sampling: how tokens are drawn.
        seed: the engine's own; a seed a request would kill the engine on a CPU.
        shard_rows: about how many requests a shard holds.
    """

    def __init__(self, engine: VllmEngine, model: Located, sampling: Sampling, seed: int, shard_rows: int) -> None:
        self._engine = engine
        self._sampling = sampling
        self._shard_rows = shard_rows
        self._on_cpu = not on_gpu(engine.device)
        defaults = engine_defaults(not self._on_cpu)
        if workers(engine.engine_kwargs) > 1:
            # By itself Ray takes `ray`, whose placement groups keep their GPUs until the job ends
            # (ray-project/ray#64035): the next table's engine would wait for them for ever.
            defaults = {**defaults, "distributed_executor_backend": "mp"}
        own = {"seed": seed, "enable_prefix_caching": True, "structured_outputs_config": GUIDE}
        self._engine_kwargs = {**defaults, **own, **engine.engine_kwargs}
        self.model = model.pinned

    def prepare(self, requests: list[Request]) -> dict[str, Any]:
        """Tokenise the opening of each request, away from the engine's event loop."""
        tokenizer = _tokenizer(self.model)
        # A reply that is weighed is part of the prompt, and its engine tokenises it again to know where it stands.
        prompts = [np.asarray([] if r.score_only else tokenizer.encode(r.messages), np.int32) for r in requests]
        return {"prompts": pickle.dumps(prompts)}

    def __call__(self, shards: Dataset) -> Dataset:
        processes = workers(self._engine_kwargs)
        one = {name: number * processes for name, number in self._bundle().items()}  # a replica is within a node
        check_capacity([*[one] * self._engine.replicas[0], IO_TASK], "engine.replicas")
        from factory.inference.vllm_actor import ShardEngine

        stage = self._stage()
        return shards.map_batches(
            ShardEngine,
            fn_constructor_args=(self.model, stage.fn_constructor_kwargs["engine_kwargs"], self._sampling),
            batch_size=1,
            **{name: value for name, value in stage.map_batches_kwargs.items() if value is not None},
        )

    def _stage(self) -> Any:
        """Ray's engine stage: the actor pool, what its actors ask for, and vLLM's completed settings."""
        import ray.data.llm

        (stage,) = ray.data.llm.build_processor(self._processor_config()).stages.values()
        return stage

    def _bundle(self) -> dict[str, float]:
        """What each of a replica's processes takes."""
        return {"CPU": 1} if self._on_cpu else {"CPU": 1, "GPU": 1}

    def _processor_config(self) -> Any:
        concurrent, in_flight = shards_in_flight(self._engine_kwargs["max_num_seqs"], self._shard_rows)
        from ray.data.llm import vLLMEngineProcessorConfig

        return vLLMEngineProcessorConfig(
            # The driver looks at the model's config alone; each replica fetches the model itself.
            model_source=model_files.fetch(self.model, weights=False),
            engine_kwargs=dict(self._engine_kwargs),
            concurrency=self._engine.replicas,
            batch_size=1,
            max_concurrent_batches=concurrent,
            max_tasks_in_flight_per_actor=in_flight,
            log_engine_metrics=False,
            chat_template_stage=False,
            tokenize_stage=False,
            detokenize_stage=False,
            placement_group_config={"bundle_per_worker": self._bundle()},
        )


@cache
def _tokenizer(model: str) -> ChatTokenizer:
    """A model's tokenizer, loaded once a process: the processes of tasks are used again."""
    return ChatTokenizer(model_files.fetch(model, weights=False))

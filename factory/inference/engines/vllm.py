"""Text generation by vLLM actors on Ray Data, built by `ray.data.llm`.

Ray's processor gives the actor pool, its autoscaling and the engine's wrapper. A replica is one
actor with all of its GPUs, on one node. The engine stage's UDF is ours, because Ray's answers one
request a row: here a row is a shard, its requests run at once, dialogues go on turn by turn inside
the engine (the history is a prefix-cache hit), and an engine that dies is started again and the
request that kills it found. Rendering and tokenising happen before, in the tasks that read the shards.
"""

import os
from array import array
from dataclasses import replace
from functools import cache
from typing import Any

from ray.data import Dataset

from factory.config import VllmEngine, fingerprint_kwargs, workers
from factory.extras import require_extra
from factory.inference import model_files
from factory.inference.chat_template import ChatTokenizer
from factory.inference.engines.backend import Backend
from factory.inference.engines.shards_in_flight import shards_in_flight
from factory.inference.model_check import check_chat
from factory.inference.model_files import Located
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
    """Return vLLM's settings where a config's `engine_kwargs` leave them out."""
    ours = GPU_DEFAULTS if gpu else {**CPU_DEFAULTS, "dtype": "bfloat16" if fast_bf16(gpu) else "float32"}
    return {**ours, "trust_remote_code": False}


def cpu_environment() -> dict[str, str]:
    """Return defaults of environment variables for a vLLM that has a machine's CPUs to itself."""
    environment = {"VLLM_CPU_KVCACHE_SPACE": "2"}  # GiB; unset, vLLM takes half of the machine's memory
    if (os.cpu_count() or 1) <= 2:  # the core that vLLM leaves free is half of these: 44 tokens a second, not 71
        environment["VLLM_CPU_NUM_OF_RESERVED_CPU"] = "0"
    return environment


class VllmBackend(Backend[VllmEngine]):
    """Answers shards of requests with vLLM actors."""

    loads_model = True

    @property
    def _on_gpu(self) -> bool:
        return on_gpu(self.settings.device)

    def locate(self) -> Located:
        located = model_files.locate(self.settings.model)
        require_extra("engine.kind vllm", "vllm-cpu] or [vllm", "vllm")
        check_chat(located, trusted=bool(self.settings.engine_kwargs.get("trust_remote_code")))
        return located

    def fingerprint_settings(self) -> dict[str, Any]:
        return {"engine_kwargs": fingerprint_kwargs(self.settings.engine_kwargs)}

    def max_concurrency(self, gpu: bool) -> int:
        defaults = GPU_DEFAULTS if gpu else CPU_DEFAULTS
        return int(str(self.settings.engine_kwargs.get("max_num_seqs", defaults["max_num_seqs"])))

    def prepare(self, model: Located, request: Request) -> Request:
        """Tokenize the opening of a request, away from the engine's event loop."""
        if request.score_only:  # the reply is part of the prompt; the engine tokenizes both to find where it starts
            return request
        return replace(request, tokens=array("i", _tokenizer(model.pinned).encode(request.messages)))

    def answer(self, shards: Dataset, model: Located, seed: int, shard_rows: int) -> Dataset:
        engine_kwargs = self._engine_kwargs(seed)
        processes = workers(engine_kwargs)
        replica = {name: number * processes for name, number in self._bundle().items()}  # it is within a node
        check_capacity([*[replica] * self.settings.replicas[0], IO_TASK], "engine.replicas")
        from factory.inference.engines.vllm_replica import VllmReplica

        stage = self._stage(model, engine_kwargs, shard_rows)
        return shards.map_batches(
            VllmReplica,
            fn_constructor_args=(model.pinned, stage.fn_constructor_kwargs["engine_kwargs"]),
            batch_size=1,
            **{name: value for name, value in stage.map_batches_kwargs.items() if value is not None},
        )

    def _engine_kwargs(self, seed: int) -> dict[str, Any]:
        """VLLM's settings; the seed is the engine's, as a seed per request would end the engine on a CPU."""
        defaults = engine_defaults(self._on_gpu)
        if workers(self.settings.engine_kwargs) > 1:
            # By itself Ray takes `ray`, whose placement groups keep their GPUs until the job ends
            # (ray-project/ray#64035): the next table's engine would wait for them forever.
            defaults = {**defaults, "distributed_executor_backend": "mp"}
        ours = {"seed": seed, "enable_prefix_caching": True, "structured_outputs_config": GUIDE}
        return {**defaults, **ours, **self.settings.engine_kwargs}

    def _stage(self, model: Located, engine_kwargs: dict[str, Any], shard_rows: int) -> Any:
        """Return Ray's engine stage: the actor pool, the resources of an actor, and vLLM's completed settings."""
        import ray.data.llm

        concurrent, in_flight = shards_in_flight(engine_kwargs["max_num_seqs"], shard_rows)
        config = ray.data.llm.vLLMEngineProcessorConfig(
            # The driver reads only the model's config; each replica downloads the model itself.
            model_source=model_files.fetch(model.pinned, weights=False),
            engine_kwargs=dict(engine_kwargs),
            concurrency=self.settings.replicas,
            batch_size=1,
            max_concurrent_batches=concurrent,
            max_tasks_in_flight_per_actor=in_flight,
            log_engine_metrics=False,
            chat_template_stage=False,
            tokenize_stage=False,
            detokenize_stage=False,
            placement_group_config={"bundle_per_worker": self._bundle()},
        )
        (stage,) = ray.data.llm.build_processor(config).stages.values()
        return stage

    def _bundle(self) -> dict[str, float]:
        """Return the resources of each of a replica's processes."""
        return {"CPU": 1, "GPU": 1} if self._on_gpu else {"CPU": 1}


@cache
def _tokenizer(model: str) -> ChatTokenizer:
    """Return a model's tokenizer, loaded once per process, as the processes of tasks are reused."""
    return ChatTokenizer(model_files.fetch(model, weights=False))

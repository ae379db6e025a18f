"""Text generation by vLLM actors on Ray Data, built by `ray.data.llm`.

Ray's processor gives the actor pool, its autoscaling, the placement of tensor-parallel workers
and the engine's wrapper. The engine stage's UDF is ours, because Ray's answers one request a row:
here a row is a shard, its requests run at once, dialogues go on turn by turn inside the engine
(the history is a prefix-cache hit), and an engine that dies is started again and the request that
kills it found. Rendering and tokenising happen before, in the tasks that read the shards.
"""

import asyncio
import itertools
import math
import os
import pickle
from collections.abc import AsyncIterator
from functools import cached_property
from typing import Any

import numpy as np
import ray.data.llm
from ray.data import Dataset
from ray.llm._internal.batch.stages.vllm_engine_stage import vLLMEngineWrapper
from ray.llm._internal.common.errors import VLLM_CLIENT_ERRORS, VLLM_FATAL_ERRORS

from factory import models
from factory.chat import chat_tokenizer
from factory.config import Sampling, VllmEngine
from factory.engine.conversation import Reply, RowError, carry_on
from factory.engine.quarantine import GUILTY, Quarantine
from factory.records import Completion, Message, Request
from factory.runtime import check_fits

CPU_DEFAULTS = {"enforce_eager": True, "dtype": "bfloat16", "max_num_seqs": 64, "distributed_executor_backend": "mp"}
"""Eager mode starts in half a minute; more sequences than 64 gain nothing on a few cores."""

GPU_DEFAULTS = {"max_num_seqs": 256}


class VllmGeneration:
    """Answers shards of requests with vLLM.

    Args:
        engine: which model, where and how many.
        sampling: how tokens are drawn.
        seed: the engine's own; a seed a request would kill the engine on a CPU.
        shard_rows: about how many requests a shard holds.
    """

    def __init__(self, engine: VllmEngine, sampling: Sampling, seed: int, shard_rows: int) -> None:
        self._engine = engine
        self._sampling = sampling
        self._shard_rows = shard_rows
        self._on_cpu = engine.device == "cpu" or (engine.device == "auto" and _torch_is_cpu_build())
        defaults = CPU_DEFAULTS if self._on_cpu else GPU_DEFAULTS
        self._engine_kwargs = {**defaults, "seed": seed, "enable_prefix_caching": True, **engine.engine_kwargs}
        self.model = engine.model

    def prepare(self, requests: list[Request]) -> dict[str, Any]:
        """Tokenise the opening of each request, away from the engine's event loop."""
        tokenizer = chat_tokenizer(models.fetch(self.model))
        prompts = [np.asarray(tokenizer.encode(request.messages), np.int32) for request in requests]
        return {"prompts": pickle.dumps(prompts)}

    def __call__(self, shards: Dataset) -> Dataset:
        devices = self._engine_kwargs.get("tensor_parallel_size", 1) * self._engine.replicas[0]
        check_fits(*((devices, 0) if self._on_cpu else (0, devices)), what="engine.replicas")
        processor = ray.data.llm.build_processor(self._processor_config())
        (stage,) = processor.stages.values()
        return shards.map_batches(
            ShardEngine,
            fn_constructor_args=(self.model, stage.fn_constructor_kwargs["engine_kwargs"], self._sampling),
            batch_size=1,
            **{name: value for name, value in stage.map_batches_kwargs.items() if value is not None},
        )

    def _processor_config(self) -> Any:
        in_engine = math.ceil(1.25 * self._engine_kwargs["max_num_seqs"])
        shards_at_once = 1 + math.ceil(in_engine / self._shard_rows)
        options: dict[str, Any] = {}
        if self._on_cpu:
            options["placement_group_config"] = {"bundle_per_worker": {"CPU": 1}}
        return ray.data.llm.vLLMEngineProcessorConfig(
            # The driver looks at the model's config alone; each replica fetches the model itself.
            model_source=models.fetch(self.model) if self.model == models.EMBEDDED else self.model,
            engine_kwargs=dict(self._engine_kwargs),
            concurrency=self._engine.replicas,
            batch_size=1,
            max_concurrent_batches=shards_at_once,
            max_tasks_in_flight_per_actor=shards_at_once + 1,
            log_engine_metrics=False,
            chat_template_stage=False,
            tokenize_stage=False,
            detokenize_stage=False,
            **options,
        )


def _torch_is_cpu_build() -> bool:
    import torch

    return torch.version.cuda is None


class ShardEngine:
    """The actor that answers whole shards with one vLLM engine.

    Args:
        model: as the config names it; it is fetched to this machine.
        engine_kwargs: for vLLM, as Ray's engine stage completed them.
        sampling: how tokens are drawn.
    """

    def __init__(self, model: str, engine_kwargs: dict[str, Any], sampling: Sampling) -> None:
        os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "2")  # GiB; unset, vLLM takes half of the machine's memory
        folder = models.fetch(model)
        self._wrapper_kwargs = {
            **engine_kwargs,
            "model": folder,
            "model_source": folder,
            "idx_in_batch_column": "",  # of Ray's own requests, which are not used
            "enable_log_requests": False,
            "log_engine_metrics": False,
        }
        self._sampling = sampling.model_dump()
        self._tokenizer = chat_tokenizer(folder)
        self._request_ids = itertools.count()
        self._llm = self._start()
        self._window: int = self._llm._vllm_config.model_config.max_model_len

    # Made on first use, inside the event loop that they belong to.
    @cached_property
    def _quarantine(self) -> Quarantine:
        return Quarantine()

    @cached_property
    def _reviving(self) -> asyncio.Lock:
        return asyncio.Lock()

    def _start(self) -> Any:
        return vLLMEngineWrapper(**self._wrapper_kwargs)

    async def __call__(self, batch: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
        (requests,), (prompts,) = (map(pickle.loads, batch[column]) for column in ("requests", "prompts"))
        completions = await asyncio.gather(*map(self._complete, requests, prompts))
        yield {**batch, "requests": [b""], "prompts": [b""], "completions": [pickle.dumps(completions)]}

    async def _complete(self, request: Request, prompt: np.ndarray) -> Completion:
        schema = request.schema
        opening: list[list[int]] = [prompt.tolist()]

        async def ask(messages: list[Message]) -> Reply:
            tokens = opening.pop() if opening else self._tokenizer.encode(messages)
            return await self._reply(tokens, schema)

        return await carry_on(request, ask)

    async def _reply(self, tokens: list[int], schema: str | None) -> Reply:
        if len(tokens) >= self._window:
            raise RowError("too_long", f"the prompt has {len(tokens)} tokens, the model's window {self._window}")
        for deaths in range(GUILTY):
            async with self._quarantine.admitted(deaths):
                llm = self._llm
                try:
                    return await self._generate(llm, tokens, schema)
                except VLLM_FATAL_ERRORS as problem:
                    last = problem
                    await self._revive(llm)
                except (ValueError, *VLLM_CLIENT_ERRORS) as problem:  # vLLM refuses the request itself
                    raise RowError("engine_error", str(problem)) from None
        raise RowError("engine_died", f"{type(last).__name__}: {last}")

    async def _generate(self, llm: Any, tokens: list[int], schema: str | None) -> Reply:
        from vllm import SamplingParams
        from vllm.inputs import TokensPrompt
        from vllm.sampling_params import RequestOutputKind, StructuredOutputsParams

        guide = StructuredOutputsParams(json=schema, disable_any_whitespace=True) if schema else None
        params = SamplingParams(**self._sampling, structured_outputs=guide, output_kind=RequestOutputKind.FINAL_ONLY)
        async with llm.semaphore:
            prompt = TokensPrompt(prompt_token_ids=tokens)
            async for output in llm.engine.generate(prompt, params, str(next(self._request_ids))):
                if output.finished:
                    answer = output.outputs[0]
                    return Reply(
                        text=answer.text,
                        prompt_tokens=len(tokens),
                        output_tokens=len(answer.token_ids),
                        cached_tokens=output.num_cached_tokens or 0,
                        truncated=answer.finish_reason == "length",
                    )
        raise RowError("engine_error", "the engine ended the request without an answer")

    async def _revive(self, dead: Any) -> None:
        async with self._reviving:
            if self._llm is dead:
                dead.shutdown()
                self._llm = await asyncio.to_thread(self._start)

    def __del__(self) -> None:
        if hasattr(self, "_llm"):
            self._llm.shutdown()  # its processes would outlive the actor

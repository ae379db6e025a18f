"""The actor that answers shards of requests with one vLLM engine.

Apart from `factory.engine.vllm`, because importing vLLM takes seconds and half a gigabyte, which
the tasks that only read and tokenise should not pay.
"""

import asyncio
import itertools
import os
import pickle
import time
from collections.abc import AsyncIterator
from functools import cached_property
from typing import Any

import numpy as np
from ray.llm._internal.batch.stages.vllm_engine_stage import vLLMEngineWrapper
from vllm import SamplingParams
from vllm.exceptions import VLLMClientError
from vllm.inputs import TokensPrompt
from vllm.sampling_params import RequestOutputKind, StructuredOutputsParams
from vllm.v1.engine.exceptions import EngineDeadError

from factory import models
from factory.chat import ChatTokenizer
from factory.config import Sampling
from factory.engine.conversation import Reply, RowError, carry_on
from factory.engine.quarantine import GUILTY, Quarantine
from factory.records import Completion, Message, Request


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
        self._tokenizer = ChatTokenizer(folder)
        self._request_ids = itertools.count()
        self._llm = self._start()
        self._up_at = time.time()
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
        told = {"completions": [pickle.dumps(completions)], "engine_up": [self._up_at]}
        yield {**batch, "requests": [b""], "prompts": [b""], **told}

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
                except EngineDeadError as problem:
                    last = problem
                    await self._revive(llm)
                except (ValueError, VLLMClientError) as problem:  # vLLM refuses the request itself
                    raise RowError("engine_error", str(problem)) from None
        raise RowError("engine_died", f"{type(last).__name__}: {last}")

    async def _generate(self, llm: Any, tokens: list[int], schema: str | None) -> Reply:
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

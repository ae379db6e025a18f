"""An engine for Ray Serve's LLM server that answers at once, so that only what is around it takes time."""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from typing import Any

from ray.llm._internal.serve.core.engine.protocol import LLMEngine

from factory.serving.llm_server import ModelServer

TOKENS, LIKELY = 96, 20
"""Of a verdict, and how many likely tokens it has for each: what a judge sends."""


class InstantEngine(LLMEngine):
    """Gives the same verdict to every request, with the log-probabilities of likely tokens where they are requested."""

    def __init__(self, llm_config: Any) -> None:
        self._model = llm_config.model_loading_config["model_id"]  # a dict, as ModelServer copies it
        self._delay_s = float(os.environ.get("INSTANT_ENGINE_DELAY_S", "0"))

    async def start(self) -> None:
        self._replies = {logprobs: self._reply(logprobs) for logprobs in (True, False)}

    def _reply(self, logprobs: bool) -> Any:
        from ray.llm._internal.serve.core.configs.openai_api_models import ChatCompletionResponse

        likely = [{"token": f"token{n}", "logprob": -1.0 - n, "bytes": list(b"token")} for n in range(LIKELY)]
        content = [{**likely[0], "top_logprobs": likely} for _ in range(TOKENS)]
        reasoning = f"Replica {os.getpid()} of {self._model} finds it fitting."
        message = {"role": "assistant", "content": json.dumps({"reasoning": reasoning, "score": 4})}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        return ChatCompletionResponse.model_validate(
            {
                "model": self._model,
                "choices": [choice | ({"logprobs": {"content": content}} if logprobs else {})],
                "usage": {"prompt_tokens": 1000, "completion_tokens": TOKENS, "total_tokens": 1000 + TOKENS},
            }
        )

    async def chat(self, request: Any, raw_request_info: Any = None) -> AsyncIterator[Any]:
        await asyncio.sleep(self._delay_s)
        yield self._replies[bool(request.logprobs)]

    async def check_health(self) -> None:
        return

    def routing_stats(self) -> dict[str, Any]:
        return {}

    async def resolve_lora(self, lora_model: Any) -> None:
        raise NotImplementedError

    async def completions(self, request: Any, raw_request_info: Any = None) -> AsyncIterator[Any]:
        raise NotImplementedError
        yield

    async def embeddings(self, request: Any, raw_request_info: Any = None) -> AsyncIterator[Any]:
        raise NotImplementedError
        yield

    async def transcriptions(self, request: Any, raw_request_info: Any = None) -> AsyncIterator[Any]:
        raise NotImplementedError
        yield

    async def reset_prefix_cache(self) -> None:
        return


class InstantServer(ModelServer):
    """The fleet's server of a model, with that engine in place of vLLM."""

    _default_engine_cls = InstantEngine

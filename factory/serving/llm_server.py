"""The replica of a served model, apart from `fleet`, because Serve's LLM server imports vLLM."""

from collections.abc import AsyncIterator
from typing import Any

from ray.llm._internal.common.callbacks.base import CallbackBase
from ray.serve.llm import LLMConfig
from ray.serve.llm.deployment import LLMServer

from factory.inference import model_files
from factory.inference.engines.endpoint_reply import ENDING_TOKENS


class ModelIsHere(CallbackBase):
    """Skips Serve's own download of the model, which starts two processes that import vLLM (20 s)."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.ctx.run_init_node = False


class ModelServer(LLMServer):
    """Serve's LLM server, which downloads the model to its own machine first.

    Of the log-probabilities of a reply it sends those of the last tokens, which hold a verdict's score: with those of
    all 96 tokens, with twenty others each, a request cost an ingress 35 ms of CPU time in place of 10.
    """

    async def __init__(self, llm_config: LLMConfig, *, model: str, **options: Any) -> None:  # type: ignore[misc]  # as Serve has it
        loading = {"model_id": llm_config.model_id, "model_source": model_files.fetch(model)}
        await super().__init__(llm_config.model_copy(update={"model_loading_config": loading}), **options)

    async def chat(self, request: Any, raw_request_info: Any = None) -> Any:
        """Return the chunks of a reply."""
        return _with_ending_logprobs(await super().chat(request, raw_request_info))


async def _with_ending_logprobs(replies: Any) -> AsyncIterator[Any]:
    async for reply in replies:
        for choice in getattr(reply, "choices", ()):  # a streamed reply comes as text
            if choice.logprobs and choice.logprobs.content:
                choice.logprobs.content = choice.logprobs.content[-ENDING_TOKENS:]
        yield reply

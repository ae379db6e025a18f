"""The replica of a served model, apart from `fleet`, because Serve's LLM server imports vLLM."""

from typing import Any

from ray.llm._internal.common.callbacks.base import CallbackBase
from ray.serve.llm import LLMConfig
from ray.serve.llm.deployment import LLMServer

from factory.inference import model_files


class ModelIsHere(CallbackBase):
    """Skips Serve's own download of the model, which starts two processes that import vLLM (20 s)."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.ctx.run_init_node = False


class ModelServer(LLMServer):
    """Serve's LLM server, which downloads the model to its own machine first."""

    async def __init__(self, llm_config: LLMConfig, *, model: str, **options: Any) -> None:  # type: ignore[misc]  # as Serve has it
        loading = {"model_id": llm_config.model_id, "model_source": model_files.fetch(model)}
        await super().__init__(llm_config.model_copy(update={"model_loading_config": loading}), **options)

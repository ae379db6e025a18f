"""Clients of judges: each judge is an OpenAI-compatible endpoint, whatever serves it."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from pydantic import SecretStr

from factory.config import (
    EndpointJudge,
    RunConfig,
    Sampling,
    ScriptedJudge,
    ServedModel,
    TokenPrices,
    fingerprint_kwargs,
)
from factory.inference import model_files
from factory.inference.chat_template import control_tokens
from factory.inference.engines.endpoint_key import api_key
from factory.inference.engines.endpoint_request import request_body, with_other_limit
from factory.inference.generation_step import EngineUse
from factory.inference.locate import locate_model
from factory.inference.model_files import Located
from factory.records import Message
from factory.runtime.progress import Progress
from factory.serving.deployment import LOGPROBS, in_flight, wire_name
from factory.serving.fleet import fleet_key_env, other_proxies

PROBE_TIMEOUT_S = 60
"""Time for one attempt to find out whether a judge returns log-probabilities; the request is small."""
PROBES_S = 300
"""Time for all attempts of the probe."""


@dataclass(frozen=True)
class JudgeClient:
    """A judge that can get requests.

    `settings` affect its verdicts besides model, prompt and sampling.
    """

    name: str
    kind: str
    model: Located
    config: EndpointJudge | ScriptedJudge
    settings: dict[str, Any]

    def engine(self, sampling: Sampling, seed: int) -> EngineUse:
        """Return the engine of a step that uses this judge."""
        if self.kind == "served" and sampling.top_p == 0:  # vLLM refuses it
            sampling = sampling.model_copy(update={"top_p": 1.0})
        return EngineUse(self.config, sampling, seed, self.model)


def with_judge(config: RunConfig, judge: Any) -> RunConfig:
    """Return the config with another judge as the only one of its evaluation, whose steps then ask that one."""
    return config.model_copy(update={"evaluation": config.evaluation.model_copy(update={"judges": (judge,)})})


def open_judges(config: RunConfig, fleet_url: str) -> list[JudgeClient]:
    """Return clients of all judges of a config; those of the fleet are reached at its URL."""
    return [_open(config, judge, fleet_url) for judge in config.evaluation.judges]


def _open(config: RunConfig, judge: Any, fleet_url: str) -> JudgeClient:
    if not isinstance(judge, ServedModel):
        logprobs = isinstance(judge, EndpointJudge) and judge.logprobs
        return JudgeClient(judge.name, judge.kind, locate_model(judge), judge, {"logprobs": logprobs})
    endpoint = EndpointJudge(
        kind="openai",
        name=judge.name,
        model=wire_name(judge),
        base_url=fleet_url or "http://127.0.0.1",
        other_urls=other_proxies(config.evaluation.fleet, fleet_url) if fleet_url else (),
        api_key_env=fleet_key_env(config.evaluation.fleet),
        max_concurrency=in_flight(judge),
        timeout_s=600,
        max_retries=20,
        max_outage_s=config.evaluation.fleet.start_timeout_s,
        prices=TokenPrices(input=0, output=0),  # its GPUs are paid for
        special_tokens=control_tokens(model_files.fetch(judge.model, weights=False)) if fleet_url else (),
    )
    settings = {
        "logprobs": True,
        "engine_kwargs": fingerprint_kwargs(judge.engine_kwargs),
        "chat_template_kwargs": judge.chat_template_kwargs,
    }
    return JudgeClient(judge.name, judge.kind, model_files.locate(judge.model), endpoint, settings)


def probe_judges(judges: Sequence[JudgeClient], progress: Progress) -> list[JudgeClient]:
    """Return the judges with `logprobs` off for those that return no log-probabilities.

    An endpoint may refuse a request for them, or leave them out silently. Where it neither refuses nor gives a good
    reply, they stay requested.
    """
    return [judge if _returns_logprobs(judge) else _without_logprobs(judge, progress) for judge in judges]


def _without_logprobs(judge: JudgeClient, progress: Progress) -> JudgeClient:
    if not isinstance(judge.config, EndpointJudge):
        return judge
    progress.print(f"judges: {judge.name} returns no log-probabilities, so its expected scores stay empty")
    return replace(judge, config=judge.config.model_copy(update={"logprobs": False}))


def _returns_logprobs(judge: JudgeClient) -> bool:
    if not isinstance(judge.config, EndpointJudge) or not judge.config.logprobs:
        return False
    import openai

    try:
        choice = asyncio.run(_probe(judge.config))["choices"][0]
        return "message" not in choice or bool((choice.get("logprobs") or {}).get("content"))
    except (openai.BadRequestError, openai.UnprocessableEntityError):
        return False
    except (openai.APIError, AttributeError, LookupError, RecursionError, TimeoutError, TypeError, ValueError):
        # A temporary failure shows nothing about log-probabilities, and without them all expected scores would be
        # lost for good; the judging itself reports what is wrong with the endpoint.
        return True


async def _probe(judge: EndpointJudge) -> Any:
    from openai import APIStatusError

    from factory.inference.engines.http_clients import make_client

    message, limit = [Message("user", "Say yes.")], {"max_tokens": 4}
    client = make_client(judge, SecretStr(api_key(judge)), timeout_s=min(judge.timeout_s, PROBE_TIMEOUT_S))
    async with asyncio.timeout(PROBES_S), client:
        create = client.chat.completions.with_raw_response.create
        try:
            answer = await create(**request_body(judge, message, limit, logprobs=LOGPROBS))
        except APIStatusError as problem:
            renamed = with_other_limit(judge, problem)
            if renamed is None:
                raise
            answer = await create(**request_body(renamed, message, limit, logprobs=LOGPROBS))
        return json.loads(answer.content)

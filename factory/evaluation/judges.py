"""Judges as their clients see them: each an OpenAI-compatible endpoint, whoever stands behind it."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import SecretStr

from factory.config import EndpointJudge, RunConfig, Sampling, ScriptedJudge, ServedModel, fingerprint_kwargs
from factory.inference import model_files
from factory.inference.chat_template import control_tokens
from factory.inference.engines.endpoint_key import api_key
from factory.inference.generation_step import EngineUse
from factory.inference.locate import locate_model
from factory.inference.model_files import Located
from factory.runtime.progress import Progress
from factory.serving.deployment import LOGPROBS, in_flight, wire_name
from factory.serving.fleet import fleet_key_env

PROBE_TIMEOUT_S = 60
"""The question whether a judge tells log-probabilities is a small one."""
PROBES_S = 300
"""The longest that the answer to it is waited for, over all attempts."""


@dataclass(frozen=True)
class Judge:
    """A judge that can be asked.

    `settings` decide its verdicts beside model, prompt and sampling.
    """

    name: str
    kind: str
    model: Located
    config: EndpointJudge | ScriptedJudge
    settings: dict[str, Any]

    def engine(self, sampling: Sampling, seed: int) -> EngineUse:
        """The engine of a step that asks this judge."""
        return EngineUse(self.config, sampling, seed, self.model)


def open_judges(config: RunConfig, fleet_url: str) -> list[Judge]:
    """All judges of a config; those of the fleet are reached at its URL."""
    return [_open(config, judge, fleet_url) for judge in config.evaluation.judges]


def _open(config: RunConfig, judge: Any, fleet_url: str) -> Judge:
    if not isinstance(judge, ServedModel):
        logprobs = isinstance(judge, EndpointJudge) and judge.logprobs
        return Judge(judge.name, judge.kind, locate_model(judge), judge, {"logprobs": logprobs})
    endpoint = EndpointJudge(
        kind="openai",
        name=judge.name,
        model=wire_name(judge),
        base_url=fleet_url or "http://127.0.0.1",
        api_key_env=fleet_key_env(config.evaluation.fleet),
        max_concurrency=in_flight(judge),
        timeout_s=600,
        max_retries=20,
        special_tokens=control_tokens(model_files.fetch(judge.model, weights=False)) if fleet_url else (),
    )
    decided = {"logprobs": True, "engine_kwargs": fingerprint_kwargs(judge.engine_kwargs)}
    return Judge(judge.name, judge.kind, model_files.locate(judge.model), endpoint, decided)


def probed(judges: Sequence[Judge], progress: Progress) -> list[Judge]:
    """The judges, those that tell no log-probabilities known as such.

    An endpoint may refuse a request that asks for them, or leave them out in silence. One that gives
    neither a refusal nor a good reply stays one to be asked for them.
    """
    return [judge if _tells_logprobs(judge) else _without_logprobs(judge, progress) for judge in judges]


def _without_logprobs(judge: Judge, progress: Progress) -> Judge:
    if not isinstance(judge.config, EndpointJudge):
        return judge
    progress.say(f"judges: {judge.name} tells no log-probabilities, so its expected scores stay empty")
    return Judge(
        judge.name, judge.kind, judge.model, judge.config.model_copy(update={"logprobs": False}), judge.settings
    )


def _tells_logprobs(judge: Judge) -> bool:
    if not isinstance(judge.config, EndpointJudge) or not judge.config.logprobs:
        return False
    import openai

    try:
        choice = asyncio.run(_probe(judge.config))["choices"][0]
        return "message" not in choice or bool((choice.get("logprobs") or {}).get("content"))
    except (openai.BadRequestError, openai.UnprocessableEntityError):
        return False
    except (openai.APIError, AttributeError, LookupError, RecursionError, TimeoutError, TypeError, ValueError):
        # A bad moment tells nothing of log-probabilities, and without them all expected scores would be lost
        # for good; what is wrong with the endpoint, the judging itself will tell.
        return True


async def _probe(judge: EndpointJudge) -> Any:
    from factory.inference.engines.http_clients import make_client

    asked: dict[str, Any] = {"model": judge.model, "max_tokens": 4, "logprobs": True, "top_logprobs": LOGPROBS}
    asked["messages"] = [{"role": "user", "content": "Say yes."}]
    client = make_client(judge, SecretStr(api_key(judge)), timeout_s=min(judge.timeout_s, PROBE_TIMEOUT_S))
    async with asyncio.timeout(PROBES_S), client:
        answer = await client.chat.completions.with_raw_response.create(**asked)
        return json.loads(answer.content)

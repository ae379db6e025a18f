"""Builds the body of a request to an endpoint, with its parameters by the names that the endpoint has for them."""

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from factory.config import OpenAIEngine
from factory.inference.engines.endpoint_errors import refusal_text
from factory.records import Message
from factory.text.control_tokens import escape_control_tokens

_UNKNOWN = re.compile("unsupported|not supported|unrecogni[sz]ed|unknown|not permitted|not allowed|instead", re.I)


def request_body(
    engine: OpenAIEngine,
    messages: Iterable[Message],
    sampling: Mapping[str, Any],
    schema: str | None = None,
    logprobs: int = 0,
) -> dict[str, Any]:
    """Return the arguments of the client's `chat.completions.create`.

    Args:
        engine: the endpoint.
        messages: escaped here.
        sampling: by our names; what is None is not sent, nor is a penalty of 0.
        schema: the JSON schema of the reply.
        logprobs: how many likely tokens to request for each position.
    """
    parameters = {name: value for name, value in sampling.items() if value is not None and name not in engine.not_sent}
    if not parameters.get("frequency_penalty"):
        parameters.pop("frequency_penalty", None)
    if "max_tokens" in parameters:
        parameters[engine.token_limit] = parameters.pop("max_tokens")
    if logprobs and engine.logprobs:
        parameters |= {"logprobs": True, "top_logprobs": logprobs}
    if engine.extra_body:
        parameters["extra_body"] = engine.extra_body
    special = engine.special_tokens
    escaped = [{"role": m.role, "content": escape_control_tokens(m.content, special)} for m in messages]
    return {"model": engine.model, "messages": escaped, **parameters, **_response_format(engine.structured, schema)}


def _response_format(structured: str, schema: str | None) -> dict[str, Any]:
    if schema is None or structured == "none":
        return {}
    named = {"json_schema": {"name": "reply", "schema": json.loads(schema)}} if structured == "json_schema" else {}
    return {"response_format": {"type": structured, **named}}


def with_other_limit(engine: OpenAIEngine, problem: Any) -> OpenAIEngine | None:
    """Return an endpoint with the other name of the token limit, if a refusal names the one that was sent."""
    answer = refusal_text(problem)
    if not re.search(rf"\b{engine.token_limit}\b", answer) or not _UNKNOWN.search(answer):
        return None
    other = "max_tokens" if engine.token_limit == "max_completion_tokens" else "max_completion_tokens"
    return engine.model_copy(update={"token_limit": other})

"""Checks that an endpoint answers and has the model."""

import asyncio
import json
from difflib import get_close_matches
from itertools import islice
from typing import Any

from pydantic import SecretStr

from factory.config import OpenAIEngine
from factory.errors import ModelError
from factory.inference.engines.endpoint_errors import run_error
from factory.inference.engines.endpoint_key import api_key, config_key
from factory.inference.engines.endpoint_reply import as_object, token_count
from factory.text.redaction import redact_urls

LIST_TIMEOUT_S = 10
LISTED = 10_000
"""How many models of an endpoint's list are compared with a name that is not among them."""


def check_endpoint(engine: OpenAIEngine) -> int | None:
    """Request the endpoint's list of models.

    Returns:
        The tokens of the model's context, if the list has them, as those of vLLM and Ray Serve may.

    Raises:
        ModelError: no key, a refused one, or a list that lacks the model.
        UnreachableError: it does not answer.
    """
    import openai

    key = SecretStr(api_key(engine))
    try:
        models = asyncio.run(_list_models(engine, key))["data"]
        cards = {str(card["id"]).removeprefix("models/"): card for card in models}
    except (openai.NotFoundError, AttributeError, LookupError, RecursionError, TypeError, ValueError):
        return None  # no list of models, or one in another shape
    except openai.APIError as problem:
        raise run_error(engine, key, problem) from None
    if cards and engine.model not in cards:
        names = [name for name in islice(cards, LISTED) if len(name) < 100]
        nearest = ", ".join(get_close_matches(engine.model, names, n=8, cutoff=0))
        url = redact_urls(engine.base_url)
        raise ModelError(f"{config_key(engine)}.model {engine.model!r}: {url} does not have it; it has {nearest}")
    return _context_tokens(as_object(cards.get(engine.model)))


async def _list_models(engine: OpenAIEngine, key: SecretStr) -> Any:
    from factory.inference.engines.http_clients import make_client

    async with make_client(engine, key, timeout_s=LIST_TIMEOUT_S, max_retries=2) as client:
        answer = await client.models.with_raw_response.list()
        return json.loads(answer.content)


def _context_tokens(card: dict[str, Any]) -> int | None:
    values = [card.get("max_model_len"), as_object(card.get("metadata")).get("max_request_context_length")]
    return next((tokens for tokens in map(token_count, values) if tokens), None)

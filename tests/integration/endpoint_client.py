"""The client of an endpoint as its actor uses it, without Ray."""

import asyncio
import pickle

from pydantic import SecretStr

from factory.config import OpenAIEngine, Sampling
from factory.inference.openai import ShardClient, api_key
from factory.records import Completion, Message, Request
from tests.integration.openai_server import OpenAIServer

KEY_ENV = "FACTORY_TEST_KEY"


def engine_of(server: OpenAIServer, **settings: object) -> OpenAIEngine:
    """Return the settings of an engine behind a test's server."""
    made = {"kind": "openai", "model": "small-chat", "base_url": server.base_url, "api_key_env": KEY_ENV}
    return OpenAIEngine(**{**made, **settings})


def ask_shard(
    server: OpenAIServer, *requests: str | Request, at_once: int = 64, **settings: object
) -> list[Completion]:
    """Return what the actor makes of a shard of requests; a text stands for one user message."""
    shard = [Request((Message("user", one),)) if isinstance(one, str) else one for one in requests]

    async def answer() -> list[Completion]:
        asked = engine_of(server, **settings)
        client = ShardClient(asked, SecretStr(api_key(asked)), Sampling(max_tokens=64), at_once)
        (batch,) = [batch async for batch in client({"requests": [pickle.dumps(shard)]})]
        return pickle.loads(batch["completions"][0])

    return asyncio.run(answer())

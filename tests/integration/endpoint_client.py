"""The client of an endpoint as its actor uses it, without Ray."""

import asyncio
import pickle
from dataclasses import replace

from pydantic import SecretStr

from factory.config import OpenAIEngine
from factory.inference.engines.endpoint_key import api_key
from factory.inference.engines.openai import OpenAIReplica
from factory.records import Completion, Message, Request, TokenSampling
from tests.integration.openai_server import OpenAIServer

KEY_ENV = "FACTORY_TEST_KEY"
SAMPLING = TokenSampling(temperature=0.6, top_p=0.95, max_tokens=64)


def engine_of(server: OpenAIServer, **settings: object) -> OpenAIEngine:
    """Return the settings of an engine behind a test's server."""
    made = {"kind": "openai", "model": "small-chat", "base_url": server.base_url, "api_key_env": KEY_ENV}
    return OpenAIEngine(**{**made, **settings})


def ask_shard(
    server: OpenAIServer,
    *requests: str | Request,
    at_once: int = 64,
    sampling: TokenSampling = SAMPLING,
    **settings: object,
) -> list[Completion]:
    """Return the actor's answers to a shard of requests; a text stands for one user message."""
    shard = [Request((Message("user", each),)) if isinstance(each, str) else each for each in requests]
    shard = [replace(request, sampling=sampling) for request in shard]

    async def answer() -> list[Completion]:
        engine = engine_of(server, **settings)
        replica = OpenAIReplica(engine, SecretStr(api_key(engine)), at_once)
        (batch,) = [batch async for batch in replica({"requests": [pickle.dumps(shard)]})]
        return pickle.loads(batch["completions"][0])

    return asyncio.run(answer())

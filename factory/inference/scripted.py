"""Replies given as data, behind the same interface as the real engines.

For tests of our own logic and for measuring the pipeline without a model.
"""

import asyncio
import pickle
import time
from typing import Any

from ray.data import Dataset

from factory.config import ScriptedEngine
from factory.inference.multi_turn import Reply, RowError, generate_turns
from factory.records import Completion, Message, Request


class ScriptedGeneration:
    """Answers every request with the first scripted reply whose text its last message contains."""

    def __init__(self, engine: ScriptedEngine) -> None:
        self._engine = engine
        self.model = engine.model

    def prepare(self, requests: list[Request]) -> dict[str, Any]:
        """Nothing more than the requests is needed."""
        return {}

    def __call__(self, shards: Dataset) -> Dataset:
        return shards.map(self._answer)

    def _answer(self, shard: dict[str, Any]) -> dict[str, Any]:
        time.sleep(self._engine.delay_s)
        return shard | {"completions": pickle.dumps(asyncio.run(self._answer_all(pickle.loads(shard["requests"]))))}

    async def _answer_all(self, requests: list[Request]) -> list[Any]:
        return [
            _weighed(request) if request.score_only else await generate_turns(request, self._ask)
            for request in requests
        ]

    async def _ask(self, messages: list[Message], again: bool) -> Reply:
        for scripted in self._engine.replies:
            if scripted.contains in messages[-1].content:
                if scripted.error:
                    raise RowError("engine_error", scripted.error)
                return _reply(messages, scripted.reply, scripted.truncated)
        return _reply(messages, self._engine.default)


def _weighed(request: Request) -> Completion:
    """A nat a word."""
    words = len(request.messages[-1].content.split())
    return Completion(output_tokens=words, log_likelihood=-float(words))


def _reply(messages: list[Message], text: str, truncated: bool = False) -> Reply:
    # A word stands for a token: enough for accounts to add up.
    words = sum(len(message.content.split()) for message in messages)
    return Reply(text, words, len(text.split()), truncated=truncated)

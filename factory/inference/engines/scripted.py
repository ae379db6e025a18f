"""Replies given as data, behind the same interface as the real engines.

For tests of our own logic and for measuring the pipeline without a model.
"""

import asyncio
from typing import Any

from ray.data import Dataset

from factory.config import ScriptedEngine
from factory.inference.engines.backend import Backend, Replica, answer_in_tasks
from factory.inference.model_files import Located
from factory.inference.multi_turn import Reply, RowError, generate_turns
from factory.records import Completion, Message, Request


class ScriptedBackend(Backend[ScriptedEngine]):
    """Answers every request with the first scripted reply whose `contains` is in its last message."""

    def locate(self) -> Located:
        return Located(self.settings.model, self.settings.revision)

    def fingerprint_settings(self) -> dict[str, Any]:
        return self.settings.model_dump(exclude={"delay_s", "replies_file"})

    def max_concurrency(self, gpu: bool) -> int:
        return 64

    def answer(self, shards: Dataset, model: Located, seed: int, shard_rows: int) -> Dataset:
        return answer_in_tasks(_ScriptedReplica(self.settings), shards)


class _ScriptedReplica(Replica):
    def __init__(self, settings: ScriptedEngine) -> None:
        self._settings = settings

    async def complete(self, request: Request) -> Completion:
        await asyncio.sleep(self._settings.delay_s)  # those of a shard run at the same time
        if request.score_only:  # a nat per word
            words = len(request.messages[-1].content.split())
            return Completion(output_tokens=words, log_likelihood=-float(words))
        return await generate_turns(request, self._reply)

    async def _reply(self, messages: list[Message], again: bool) -> Reply:
        for scripted in self._settings.all_replies:
            if scripted.contains in messages[-1].content:
                if scripted.error:
                    raise RowError("engine_error", scripted.error)
                return _count_words(messages, scripted.reply, scripted.truncated)
        return _count_words(messages, self._settings.default)


def _count_words(messages: list[Message], text: str, truncated: bool = False) -> Reply:
    # A word counts as a token: enough for totals to add up.
    words = sum(len(message.content.split()) for message in messages)
    return Reply(text, words, len(text.split()), truncated=truncated)

"""Replies given as data, behind the same interface as the real engines.

For tests of our own logic and for measuring the pipeline without a model.
"""

import asyncio
import random
import time
from functools import partial
from typing import Any

from factory.config import ScriptedEngine
from factory.inference.engine_pool.pool_settings import PoolSettings
from factory.inference.engines.backend import Replica
from factory.inference.engines.pooled_backend import PooledBackend
from factory.inference.model_files import Located
from factory.inference.multi_turn import Reply, RowError, generate_turns
from factory.records import Completion, Message, Request
from factory.runtime.capacity import IO_TASK, Bundle, check_capacity
from factory.text.thoughts import split_text

SPEED = {"delay_s", "delay_sigma", "start_s", "max_concurrency", "replicas", "num_cpus"}
"""Settings that change no row."""


DRAW = "{draw}"
"""Where a reply has it, it has the number of the draw, from 0."""


class ScriptedBackend(PooledBackend[ScriptedEngine]):
    """Answers every request with the first scripted reply whose `contains` is in its last message."""

    def locate(self) -> Located:
        return Located(self.settings.model, self.settings.revision)

    def fingerprint_settings(self) -> dict[str, Any]:
        return self.settings.model_dump(exclude=SPEED | {"replies_file"})

    def max_concurrency(self, gpu: bool) -> int:
        return self.settings.max_concurrency

    def check_room(self) -> None:
        replicas = [Bundle({"CPU": self.settings.num_cpus})] * self.settings.replicas[0]
        check_capacity([*replicas, IO_TASK], "engine.replicas")

    def pool_settings(self, model: Located, seed: int) -> PoolSettings:
        settings = self.settings
        return PoolSettings(
            key=self.pool_key(model, seed),
            model=model.ref,
            start=partial(_ScriptedReplica, settings),
            slots=settings.max_concurrency,
            replicas=settings.replicas,
            resources={"CPU": settings.num_cpus},
        )


class _ScriptedReplica(Replica):
    def __init__(self, settings: ScriptedEngine) -> None:
        time.sleep(settings.start_s)
        self._settings = settings
        self._slots = asyncio.Semaphore(settings.max_concurrency)

    async def complete(self, request: Request) -> Completion:
        async with self._slots:
            await asyncio.sleep(self._seconds(request))
            if request.score_only:  # a nat per word
                words = len(request.messages[-1].content.split())
                return Completion(output_tokens=words, log_likelihood=-float(words))
            return await generate_turns(request, partial(self._reply, request.draw))

    def _seconds(self, request: Request) -> float:
        """Return how long a reply takes: always the same for the same request."""
        sigma = self._settings.delay_sigma
        if not sigma:
            return self._settings.delay_s
        text = "\n".join(message.content for message in request.messages)
        return self._settings.delay_s * random.Random(text).lognormvariate(-(sigma**2) / 2, sigma)

    async def _reply(self, draw: int, messages: list[Message], again: bool) -> Reply:
        for scripted in self._settings.all_replies:
            if scripted.contains in messages[-1].content:
                if scripted.error:
                    raise RowError("engine_error", scripted.error)
                text = scripted.reply if not again or scripted.again is None else scripted.again
                return _count_words(messages, text.replace(DRAW, str(draw)), scripted.truncated)
        return _count_words(messages, self._settings.default)


def _count_words(messages: list[Message], text: str, truncated: bool = False) -> Reply:
    # A word counts as a token: enough for totals to add up.
    words = sum(len(message.content.split()) for message in messages)
    split = split_text(text)
    return Reply(
        split.text,
        words,
        len(text.split()),
        truncated=truncated or split.is_open,
        thoughts=split.thoughts,
        thought_tokens=len(split.thoughts.split()),
    )

"""What the replica makes of a vLLM engine that fails a request and lives on; the engine itself is played."""

import asyncio
import itertools
import os
from array import array
from types import SimpleNamespace
from typing import Any

import pytest
from vllm.v1.engine.exceptions import EngineDeadError, EngineGenerateError

from factory.inference.engines.backend import EngineDiedError
from factory.inference.engines.vllm_replica import VllmReplica
from factory.inference.engines.vllm_settings import cpu_environment
from factory.records import Completion, Message, Request


class PlayedEngine(VllmReplica):
    """The replica around an engine that ends each request as the test says."""

    def __init__(self, ending: str | Exception) -> None:
        self._model = "played"
        self._request_ids = itertools.count()
        self._window = 64
        self._engine = SimpleNamespace(generate=self._generated, shutdown=lambda: None)
        self._ending = ending

    async def _generated(self, prompt: Any, params: Any, request_id: str) -> Any:
        if isinstance(self._ending, EngineDeadError):
            raise self._ending
        if isinstance(self._ending, Exception):
            raise EngineGenerateError from self._ending
        reply = SimpleNamespace(text="so far", token_ids=[1, 2], finish_reason=self._ending)
        yield SimpleNamespace(finished=True, outputs=[reply], num_cached_tokens=0)


def answered(ending: str | Exception) -> Completion:
    async def ask() -> Completion:
        return await PlayedEngine(ending).complete(Request((Message("user", "u"),), tokens=array("i", [1, 2, 3])))

    return asyncio.run(ask())


@pytest.mark.parametrize("ending", ["error", "abort"])
def test_a_request_that_the_engine_gave_up_is_a_reject_and_no_empty_reply(ending):
    made = answered(ending)
    assert (made.error, made.replies) == ("engine_error", ())
    assert repr(ending) in made.detail


def test_a_request_that_fails_alone_is_a_reject_with_its_cause():
    made = answered(RuntimeError("the KV cache of another machine is gone"))
    assert (made.error, made.detail) == ("engine_error", "RuntimeError: the KV cache of another machine is gone")


def test_a_dead_engine_is_no_matter_of_a_single_request():
    with pytest.raises(EngineDiedError, match="EngineDeadError"):
        answered(EngineDeadError())


@pytest.mark.parametrize(("ending", "cut"), [("stop", False), ("length", True), ("repetition", False)])
def test_other_endings_are_replies(ending, cut):
    made = answered(ending)
    assert (made.error, made.replies, made.truncated) == ("", ("so far",), cut)


def test_an_engine_uses_both_of_two_cores_and_leaves_one_of_more_free(monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    assert cpu_environment()["VLLM_CPU_NUM_OF_RESERVED_CPU"] == "0"
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    assert "VLLM_CPU_NUM_OF_RESERVED_CPU" not in cpu_environment()

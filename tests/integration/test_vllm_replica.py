"""What the replica makes of a vLLM engine that fails a request and lives on; the engine itself is played."""

import asyncio
import itertools
import os
from array import array
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from vllm.v1.engine.exceptions import EngineDeadError, EngineGenerateError

from factory.inference.chat_template import ChatTokenizer
from factory.inference.engines.backend import EngineDiedError
from factory.inference.engines.vllm_replica import VllmReplica
from factory.inference.engines.vllm_settings import cpu_environment
from factory.records import Completion, Message, Request
from tests.chat_properties import save_byte_tokenizer


class PlayedEngine(VllmReplica):
    """The replica around an engine that ends each request as the test says."""

    def __init__(self, ending: str | Exception, tokenizer: ChatTokenizer) -> None:
        self._model = "played"
        self._tokenizer = tokenizer
        self._request_ids = itertools.count()
        self._window = 64
        self._engine_kwargs: dict[str, Any] = {}
        self._engine = SimpleNamespace(generate=self._generated, shutdown=lambda: None)
        self._ending = ending

    async def _generated(self, prompt: Any, params: Any, request_id: str, reasoning_ended: bool | None) -> Any:
        if isinstance(self._ending, EngineDeadError):
            raise self._ending
        if isinstance(self._ending, Exception):
            raise EngineGenerateError from self._ending
        reply = SimpleNamespace(text="so <\u200b/s>", token_ids=[1, 2], finish_reason=self._ending)
        ids = prompt["prompt_token_ids"]
        likely = [{token: SimpleNamespace(logprob=-1.0 - number)} for number, token in enumerate(ids)]
        yield SimpleNamespace(finished=True, outputs=[reply], num_cached_tokens=0, prompt_logprobs=likely)


TEMPLATE = (
    "{% for m in messages %}{{ m.content }}{{ '<a>' if loop.last and m.role == 'assistant' else '</s>' }}{% endfor %}"
)
"""The last reply ends with another token than those before it, so that a dialogue is several sequences."""


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory) -> ChatTokenizer:
    return ChatTokenizer(save_byte_tokenizer(tmp_path_factory.mktemp("tokenizer"), ["<a>"]), TEMPLATE)


@pytest.fixture
def answered(tokenizer) -> Callable[..., Completion]:
    """Return what the replica answers around an engine that ends a request in some way."""

    def ask(ending: str | Exception, *dialogue: str) -> Completion:
        request = Request((Message("user", "u"),), tokens=array("i", [1, 2, 3]))
        if dialogue:
            roles = itertools.cycle(["user", "assistant"])
            request = Request(tuple(map(Message, roles, dialogue)), score_only=True)

        async def complete() -> Completion:
            return await PlayedEngine(ending, tokenizer).complete(request)

        return asyncio.run(complete())

    return ask


@pytest.mark.parametrize("ending", ["error", "abort"])
def test_a_request_that_the_engine_gave_up_is_a_reject_and_no_empty_reply(answered, ending):
    made = answered(ending)
    assert (made.error, made.replies) == ("engine_error", ())
    assert repr(ending) in made.detail


def test_a_request_that_fails_alone_is_a_reject_with_its_cause(answered):
    made = answered(RuntimeError("the KV cache of another machine is gone"))
    assert (made.error, made.detail) == ("engine_error", "RuntimeError: the KV cache of another machine is gone")


def test_a_dead_engine_is_no_matter_of_a_single_request(answered):
    with pytest.raises(EngineDiedError, match="EngineDeadError"):
        answered(EngineDeadError())


@pytest.mark.parametrize(("ending", "cut"), [("stop", False), ("length", True), ("repetition", False)])
def test_other_endings_are_replies(answered, ending, cut):
    made = answered(ending)
    assert (made.error, made.replies, made.truncated) == ("", ("so </s>",), cut)


def test_every_sequence_of_a_dialogue_is_scored(answered, tokenizer):
    """The played engine finds the token at position n likely by exp(-1 - n)."""
    dialogue = ("u", "one", "v", "two")
    sequences = tokenizer.encode_dialogue(
        [Message(r, t) for r, t in zip(["user", "assistant"] * 2, dialogue, strict=True)]
    )
    assert len(sequences) == 2
    made = answered("length", *dialogue)
    learned = [n for sequence in sequences for n, mask in enumerate(sequence.mask) if mask]
    assert made.log_likelihood == sum(-1.0 - n for n in learned)
    assert (made.prompt_tokens, made.output_tokens) == (sum(len(s.ids) for s in sequences), len(learned))


class ThinkingEngine(PlayedEngine):
    """The replica around an engine that writes the same to each prompt, and keeps what it was asked."""

    def __init__(self, said: str, tokenizer: ChatTokenizer) -> None:
        super().__init__("stop", tokenizer)
        self._said = tokenizer._encode(said)
        self.asked: list[tuple[str, bool | None]] = []

    async def _generated(self, prompt: Any, params: Any, request_id: str, reasoning_ended: bool | None) -> Any:
        decode = self._tokenizer._tokenizer.decode
        self.asked.append((decode(prompt["prompt_token_ids"]), reasoning_ended))
        text, ids = decode(self._said, skip_special_tokens=True), [*self._said, self._tokenizer.end_of_turn]
        reply = SimpleNamespace(text=text, token_ids=ids, finish_reason="stop")
        yield SimpleNamespace(finished=True, outputs=[reply], num_cached_tokens=0)


@pytest.fixture(scope="module")
def thinking(tmp_path_factory) -> ChatTokenizer:
    folder = save_byte_tokenizer(tmp_path_factory.mktemp("thinking"), ["<a>", "[THINK]", "[/THINK]"])
    turns = (
        "{% for m in messages %}{{ m.role + m.content }}{{ '<a>' if m.role == 'assistant' else '</s>' }}{% endfor %}"
    )
    return ChatTokenizer(folder, turns + "{% if add_generation_prompt %}assistant[THINK]{% endif %}")


def test_thoughts_are_split_off_and_never_shown_again(thinking):
    engine = ThinkingEngine("HM {x}[/THINK]Aye, </s> and <\u200b/s>.", thinking)
    made = asyncio.run(engine.complete(Request((Message("user", "u"),), follow_ups=("v",))))
    assert (made.replies, made.thoughts) == (("Aye,  and </s>.",) * 2, ("HM {x}",) * 2)
    assert (made.truncated, made.thought_tokens) == (False, 2 * (len("HM {x}") + 1))
    assert [asked.count("HM") for asked, _ in engine.asked] == [0, 0]
    cut = asyncio.run(ThinkingEngine("HM", thinking).complete(Request((Message("user", "u"),))))
    assert (cut.replies, cut.thoughts, cut.truncated) == (("",), ("HM",), True)


def test_a_guided_reply_begins_behind_the_thoughts(thinking):
    engine = ThinkingEngine("{}", thinking)
    request = Request((Message("user", "u"),), schema="{}")
    made = asyncio.run(engine.complete(request))
    assert (made.replies, made.thoughts, made.truncated) == (("{}",), ("",), False)
    engine._engine_kwargs = {"reasoning_parser": "mistral"}
    opened = asyncio.run(engine.complete(request))
    assert opened.truncated
    ends = [(asked.removeprefix("useru</s>"), ended) for asked, ended in engine.asked]
    assert ends == [("assistant[THINK][/THINK]", True), ("assistant[THINK]", False)]


def test_an_engine_uses_both_of_two_cores_and_leaves_one_of_more_free(monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    assert cpu_environment()["VLLM_CPU_NUM_OF_RESERVED_CPU"] == "0"
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    assert "VLLM_CPU_NUM_OF_RESERVED_CPU" not in cpu_environment()

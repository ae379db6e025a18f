"""Thoughts are split off replies by token ids, with tokenizers whose marks are special, added, several or no tokens."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factory.config import VllmEngine
from factory.inference.chat_template import ChatTokenizer
from factory.inference.engines.vllm_settings import closes_thoughts
from factory.records import Message, Request
from factory.text.thoughts import SplitReply
from tests.chat_properties import save_byte_tokenizer

TEMPLATE = "{% for m in messages %}<|u|>{{ m.content }}<|z|>{% endfor %}{% if add_generation_prompt %}<|a|>{% endif %}"
OPEN = TEMPLATE.replace("<|a|>", "<|a|><think>\n")
HARMONY = ["<|channel|>", "<|message|>", "<|start|>", "<|end|>", "<|return|>"]
ANALYSIS, FINAL = "<|channel|>analysis<|message|>", "<|end|><|start|>assistant<|channel|>final<|message|>"
TOKENS: dict[str, tuple[list[str], list[str]]] = {
    "added": ([], ["<think>", "</think>"]),
    "special": (["[THINK]", "[/THINK]"], []),
    "channels": (HARMONY, []),
    "text": ([], []),
}
"""By kind of marks: the special and the other added tokens."""
MARKS = {"added": ("<think>", "</think>"), "special": ("[THINK]", "[/THINK]"), "channels": (ANALYSIS, FINAL)} | {
    "text": ("<think>", "</think>")
}
REPLIES = {
    "none": ("Hello.", SplitReply("Hello.")),
    "first": ("{start}hm {{x}}{end}\n\nHello.", SplitReply("Hello.", "hm {x}")),
    "unopened": ("hm{end}Hello.", SplitReply("Hello.", "hm")),
    "unclosed": ("{start}hm", SplitReply("", "hm", is_open=True)),
    "empty": ("{start}\n\n{end}\n\nHello.", SplitReply("Hello.")),
    "nothing behind": ("{start}hm{end}", SplitReply("", "hm")),
    "twice": ("{start}a{end}b{start}c{end}d", SplitReply("d", "abc")),
    "behind": ("{start}a{end}b{start}c", SplitReply("b", "a\nc", is_open=True)),
    "before a thought": ("b{start}c", SplitReply("b", "c", is_open=True)),
}


def tokenizer(folder: Path, kind: str, template: str = TEMPLATE) -> ChatTokenizer:
    special, added = TOKENS[kind]
    return ChatTokenizer(save_byte_tokenizer(folder, ["<|u|>", "<|a|>", "<|z|>", *special], added), template)


@pytest.fixture(scope="module")
def tokenizers(tmp_path_factory) -> dict[str, ChatTokenizer]:
    return {kind: tokenizer(tmp_path_factory.mktemp("tokens"), kind) for kind in TOKENS}


def split(chat: ChatTokenizer, *parts: str) -> tuple[SplitReply, int, int]:
    """Split a reply whose parts are tokenized one by one, with the number of its tokens."""
    ids = [token for part in parts for token in chat._encode(part)]
    prompt = chat.encode([Message("user", "u")])
    return *chat.split_thoughts(prompt, ids, chat._tokenizer.decode(ids, skip_special_tokens=True)), len(ids)


@pytest.mark.parametrize("name", REPLIES)
@pytest.mark.parametrize("kind", TOKENS)
def test_thoughts_are_split_at_the_last_mark(tokenizers, kind, name):
    text, expected = REPLIES[name]
    start, end = MARKS[kind]
    found, tokens, all_tokens = split(tokenizers[kind], text.format(start=start, end=end))
    assert found == expected
    assert tokens <= all_tokens
    assert bool(tokens) == (name != "none")
    assert expected.text or tokens == all_tokens


def test_an_unfinished_channel_is_no_reply(tokenizers):
    for text in (f"{ANALYSIS}hm<|end|><|start|>assistant", "<|channel|>commentary<|message|>I will look."):
        found, tokens, all_tokens = split(tokenizers["channels"], text)
        assert (found.text, found.is_open, tokens) == ("", True, all_tokens)


@pytest.mark.parametrize("kind", ["added", "text"])
def test_a_thought_that_the_prompt_opened_is_unfinished_without_an_end(tmp_path, kind):
    chat = tokenizer(tmp_path, kind, OPEN)
    assert split(chat, "Hello.")[0] == SplitReply("", "Hello.", is_open=True)
    assert split(chat, "hm\n</think>\n\nHello.")[0] == SplitReply("Hello.", "hm")
    assert split(chat, "</think>Hello.")[0] == SplitReply("Hello.")


def test_a_mark_that_is_written_letter_by_letter_is_text(tokenizers):
    """A model repeats a mark of its data, which was escaped, with other tokens than its own mark."""
    found, tokens, _ = split(tokenizers["added"], "The tag is <", "/think>.")
    assert (found, tokens) == (SplitReply("The tag is </think>."), 0)
    assert split(tokenizers["added"], "hm", "</think>", "It is <\u200b/think>.")[0] == SplitReply(
        "It is </think>.", "hm"
    )


@pytest.mark.parametrize("kind", TOKENS)
@given(st.lists(st.sampled_from(["a", " ", "\n", "빵", "{", "<", "start", "end"]), max_size=12))
def test_no_token_is_lost_or_counted_twice(tokenizers, kind, parts):
    start, end = MARKS[kind]
    text = "".join({"start": start, "end": end}.get(part, part) for part in parts)
    found, tokens, all_tokens = split(tokenizers[kind], text)
    assert 0 <= tokens <= all_tokens
    assert not any(mark in found.text for mark in (start, end, *HARMONY))
    assert sorted("".join((found.text + found.thoughts).split())) == sorted(
        "".join(part for part in parts if part not in ("start", "end")).replace(" ", "").replace("\n", "")
    )


def test_guided_replies_begin_without_thoughts(tmp_path):
    chat = tokenizer(tmp_path, "added", OPEN)
    asked, closed = (chat.encode([Message("user", "u")], close_thoughts=close) for close in (False, True))
    assert chat._tokenizer.decode(closed[len(asked) :]) == "\n</think>\n\n"
    assert closed[: len(asked)] == asked
    free, guided = (Request((Message("user", "u"),), schema=schema) for schema in (None, "{}"))
    assert (closes_thoughts(free, {}), closes_thoughts(guided, {})) == (False, True)
    for thinking in ({"reasoning_parser": "qwen3"}, {"structured_outputs_config": {"reasoning_parser": "qwen3"}}):
        engine = VllmEngine(kind="vllm", model="m", engine_kwargs=thinking)
        assert not closes_thoughts(guided, engine.engine_kwargs)

"""Thoughts are split off replies by fields, parts and marks, and a reply without them stays as it is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factory.inference.engines.endpoint_reply import EmptyReplyError, parse_reply
from factory.inference.engines.endpoint_thoughts import split_message
from factory.inference.multi_turn import NoReplyError, Reply
from factory.text.thoughts import MARKS, SplitReply, split_text

TEXTS = {
    "plain": ("Hello.", SplitReply("Hello.")),
    "white space is kept": ("  Hello.\n", SplitReply("  Hello.\n")),
    "closed": ("<think>\nhm {x}\n</think>\n\nHello.", SplitReply("Hello.", "hm {x}")),
    "closing mark only": ("hm\n</think>\nHello.", SplitReply("Hello.", "hm")),
    "unclosed": ("<think>\nhm", SplitReply("", "hm", is_open=True)),
    "empty": ("<think>\n\n</think>\n\nHello.", SplitReply("Hello.")),
    "nothing behind": ("<think>hm</think>", SplitReply("", "hm")),
    "two": ("<think>a</think>b<think>c</think>d", SplitReply("d", "abc")),
    "open behind": ("<think>a</think>b<think>c", SplitReply("b", "a\nc", is_open=True)),
    "Mistral": ("[THINK]hm[/THINK]Hello.", SplitReply("Hello.", "hm")),
    "Seed": ("<seed:think>hm</seed:think>Hello.", SplitReply("Hello.", "hm")),
    "Gemini": ("<thought>hm</thought>Hello.", SplitReply("Hello.", "hm")),
    "gpt-oss": (
        "<|channel|>analysis<|message|>hm<|end|><|start|>assistant<|channel|>final<|message|>Hello.<|return|>",
        SplitReply("Hello.", "hm"),
    ),
    "gpt-oss, cut": ("<|channel|>analysis<|message|>hm", SplitReply("", "hm", is_open=True)),
    "gpt-oss without special tokens": (
        "analysisUser says hi.assistantfinalHello.",
        SplitReply("Hello.", "User says hi."),
    ),
    "a word": ("analysis of the bread", SplitReply("analysis of the bread")),
}


@pytest.mark.parametrize("name", TEXTS)
def test_inline_thoughts_are_split_at_the_last_mark(name):
    text, expected = TEXTS[name]
    assert split_text(text) == expected


def text_part(text: str) -> dict:
    return {"type": "text", "text": text}


MESSAGES = {
    "DeepSeek": ({"content": "Hi.", "reasoning_content": "hm"}, SplitReply("Hi.", "hm")),
    "vLLM": ({"content": "\n\nHi.", "reasoning": "hm", "reasoning_content": None}, SplitReply("Hi.", "hm")),
    "both": ({"content": "Hi.", "reasoning": "hm", "reasoning_content": "hm"}, SplitReply("Hi.", "hm")),
    "an empty field": ({"content": " Hi.", "reasoning_content": ""}, SplitReply(" Hi.")),
    "a field, and a mark in the text": (
        {"content": "A </think> b", "reasoning": "hm"},
        SplitReply("A </think> b", "hm"),
    ),
    "a field, and a thought": ({"content": "<think>a</think>b", "reasoning": "hm"}, SplitReply("b", "hm\na")),
    "null": ({"content": None, "reasoning": "hm"}, SplitReply("", "hm")),
    "Mistral": (
        {
            "content": [
                {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]},
                {"type": "text", "text": "Hi."},
            ]
        },
        SplitReply("Hi.", "hm"),
    ),
    "thinking as text": (
        {
            "content": [
                {"type": "thinking", "thinking": "hm"},
                {"type": "text", "text": "H"},
                {"type": "text", "text": "i."},
            ]
        },
        SplitReply("Hi.", "hm"),
    ),
    "other parts": ({"content": [7, {"type": "text"}, {"type": "text", "text": "Hi."}, {}]}, SplitReply("Hi.")),
    "a field of another shape": ({"content": "Hi.", "reasoning": {"a": 1}}, SplitReply("Hi.")),
}


@pytest.mark.parametrize("name", MESSAGES)
def test_thoughts_are_found_in_fields_and_parts(name):
    message, expected = MESSAGES[name]
    assert split_message(message) == expected


@given(st.text(alphabet="ab <>/|[]{}\nthink", max_size=60))
def test_a_text_without_marks_is_kept(text):
    if not any(mark in text for pair in MARKS for mark in pair):
        assert split_text(text) == SplitReply(text)


@given(st.text(max_size=30), st.sampled_from(MARKS), st.text(max_size=30), st.booleans())
def test_no_thought_is_text(thought, marks, reply, is_opened):
    start, end = marks
    split = split_text(f"{start if is_opened else ''}\N{BLACK STAR}{thought}{end}{reply.replace(chr(0x2605), '')}")
    assert "\N{BLACK STAR}" not in split.text
    assert split.text in reply


def answer(content: object, usage: object = None, reason: object = "stop", **message: object) -> dict:
    return {"choices": [{"message": {"content": content, **message}, "finish_reason": reason}], "usage": usage}


COUNTS = {
    "details": ({"completion_tokens": 9, "completion_tokens_details": {"reasoning_tokens": 6}}, (9, 6)),
    "beside": ({"completion_tokens": 9, "reasoning_tokens": 6}, (9, 6)),
    "not counted": ({"completion_tokens": 10}, (10, 5)),
    "in the total alone": ({"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 20}, (17, 8)),
    "too many": ({"completion_tokens": 9, "reasoning_tokens": 60}, (9, 9)),
    "nothing": ({}, (0, 0)),
    "odd": ({"completion_tokens": 10, "completion_tokens_details": [1], "reasoning_tokens": "6"}, (10, 5)),
}


@pytest.mark.parametrize("name", COUNTS)
def test_thoughts_are_counted_or_estimated(name):
    usage, expected = COUNTS[name]
    reply = parse_reply(answer("abcd", usage, reasoning="efgh"), 64)
    assert (reply.output_tokens, reply.thought_tokens) == expected


def test_a_reply_without_thoughts_has_none():
    assert parse_reply(answer("Hi.", {"completion_tokens": 2}), 64) == Reply("Hi.", output_tokens=2)


def test_thoughts_that_are_no_text_cost_no_reply():
    reply = parse_reply(answer("Hi.", reasoning="h\ud83dm" + "x" * 100_000), 64)
    assert reply.text == "Hi."
    assert reply.thoughts.startswith("hmx")
    assert len(reply.thoughts) < 20_000


FINISHED = {
    "length": Reply("Hi", truncated=True),
    "MAX_TOKENS": Reply("Hi", truncated=True),
    "FinishReason.MAX_TOKENS": Reply("Hi", truncated=True),
    "model_length": Reply("Hi", truncated=True),
    "STOP": Reply("Hi"),
    "eos": Reply("Hi"),
    None: Reply("Hi"),
    7: Reply("Hi"),
}


@pytest.mark.parametrize("reason", FINISHED)
def test_a_finish_reason_is_read_without_case(reason):
    assert parse_reply(answer("Hi", reason=reason), 64) == FINISHED[reason]


@pytest.mark.parametrize("reason", ["content_filter", "SAFETY", "content_filter: RECITATION", "PROHIBITED_CONTENT"])
@pytest.mark.parametrize("content", [None, "", "Hi"])
def test_a_refusal_by_its_finish_reason_is_one(reason, content):
    with pytest.raises(NoReplyError) as told:
        parse_reply(answer(content, reason=reason), 64)
    assert told.value.reason == "refused"
    assert told.value.detail == (content or reason)


@pytest.mark.parametrize("reason", ["error", "ABORT", "insufficient_system_resource"])
def test_a_failed_reply_is_none(reason):
    with pytest.raises(NoReplyError, match="engine_error"):
        parse_reply(answer("half a", reason=reason), 64)


@pytest.mark.parametrize(
    "message", [{"content": ""}, {"content": None}, {"content": "\n"}, {"content": "<think>a</think>"}]
)
def test_an_empty_reply_is_worth_asking_again_unless_it_was_cut(message):
    with pytest.raises(EmptyReplyError):
        parse_reply({"choices": [{"message": message, "finish_reason": "stop"}]}, 64)
    assert parse_reply({"choices": [{"message": message, "finish_reason": "length"}]}, 64).truncated

"""Thoughts of reasoning models: the marks between which a reply holds them, and how they are split off.

The only list of these marks, for engines, endpoints, chat templates and curation. The first mark of a thought may be
missing, because the prompt ended with it; the last one may be missing, because the reply was cut.
"""

from dataclasses import dataclass

MARKS = (
    ("<think>", "</think>"),  # Qwen, DeepSeek, GLM, Nemotron
    ("[THINK]", "[/THINK]"),  # Mistral
    ("<seed:think>", "</seed:think>"),
    ("<|START_THINKING|>", "<|END_THINKING|>"),  # Command A
    ("<|channel>", "<channel|>"),  # Gemma 4
    ("<thought>", "</thought>"),  # Gemini's compatible endpoint
    ("<|channel|>analysis<|message|>", "<|channel|>final<|message|>"),  # gpt-oss
    ("<|channel|>commentary<|message|>", "<|channel|>final<|message|>"),
)
_AROUND_CHANNELS = ("<|start|>assistant", "<|end|>", "<|return|>")
_UNMARKED = ("analysis", "assistantfinal")
"""What is left of gpt-oss' marks where a server leaves out special tokens."""


@dataclass(frozen=True)
class SplitReply:
    """A reply without its thoughts."""

    text: str
    thoughts: str = ""
    is_open: bool = False
    """Whether a thought was not closed, so that there is no reply, or none after it."""


def split_text(text: str) -> SplitReply:
    """Split a text at the last mark that ends a thought; what comes before is thought, also without a first mark."""
    if text.startswith(_UNMARKED[0]) and _UNMARKED[1] in text:
        thoughts, _, reply = text.removeprefix(_UNMARKED[0]).rpartition(_UNMARKED[1])
        return SplitReply(reply.strip(), thoughts.strip())
    end = max((text.rfind(close) + len(close) for _, close in MARKS if close in text), default=0)
    begin = min((at for start, _ in MARKS if (at := text.find(start, end)) >= 0), default=len(text))
    if not end and begin == len(text):
        return SplitReply(text)
    reply = text[end:begin].strip()
    for mark in _AROUND_CHANNELS:
        reply = reply.removesuffix(mark).strip()
    return SplitReply(reply, join_thoughts(text[:end], text[begin:]), is_open=begin < len(text))


def join_thoughts(*parts: str) -> str:
    """Return the thoughts before and behind a reply as one text, without marks."""
    return "\n".join(filter(None, map(_without_marks, parts)))


def _without_marks(text: str) -> str:
    for mark in (*(mark for pair in MARKS for mark in pair), *_AROUND_CHANNELS):
        text = text.replace(mark, "")
    return text.strip()

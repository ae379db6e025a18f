"""Thoughts of reasoning models: the marks between which a reply holds them, and how they are split off.

The only list of these marks, for engines, endpoints, chat templates and curation. The first mark of a thought may be
missing, because the prompt ended with it; the last one may be missing, because the reply was cut.
"""

import re
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

_WORDS = r"think|thinking|thoughts?|reasoning|reflection|analysis|scratchpad|inner_(?:thoughts?|monologue)"
_TAG = re.compile(rf"<(?P<end>/)?(?P<word>{_WORDS})>", re.IGNORECASE)
_BEFORE_A_LINE = re.compile(rf"(?im)^[\s>*_#-]{{0,8}}<(?:{_WORDS})>")
_NEVER_TEXT = re.compile(
    r"</?(?:seed:)?think>|\[/?THINK]|<\|(?:START|END)_THINKING\|>|<\|channel\|?>|<channel\|>"
    r"|<\|(?:begin|end)_of_(?:thought|solution)\|>|◁/?think▷"  # Sky-T1; Kimi
    r"|\Aanalysis(?=[A-Z])|assistant(?:final|analysis|commentary)"
)


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


def find_thought_mark(text: str) -> str | None:
    """Return a mark that shows that thoughts are left in a reply, or None.

    A tag that is also a word, such as `<reasoning>`, is one before a line, or if it ends what was not begun: a text may
    mention it, or show both. Code is to be removed before.
    """
    found = _NEVER_TEXT.search(text) or _BEFORE_A_LINE.search(text)
    if found:
        return found[0].strip()
    begun = set()
    for tag in _TAG.finditer(text):
        word = tag["word"].casefold()
        if tag["end"] and word not in begun:
            return tag[0]
        begun.add(word)
    return None


def _without_marks(text: str) -> str:
    for mark in (*(mark for pair in MARKS for mark in pair), *_AROUND_CHANNELS):
        text = text.replace(mark, "")
    return text.strip()

"""Splits the thoughts of a reasoning model off its reply, in whatever form an endpoint sends them.

Some have a field for them, some send a list of typed parts, and a server without a parser for its model leaves them in
the text, between marks of which the first may be missing, because the prompt ended with it.
"""

from dataclasses import dataclass
from typing import Any

MARKS = (
    ("<think>", "</think>"),  # Qwen, DeepSeek, GLM, Nemotron
    ("[THINK]", "[/THINK]"),  # Mistral
    ("<seed:think>", "</seed:think>"),
    ("<|START_THINKING|>", "<|END_THINKING|>"),  # Command A
    ("<|channel>", "<channel|>"),  # Gemma 4
    ("<thought>", "</thought>"),  # Gemini's compatible endpoint
    ("<|channel|>analysis<|message|>", "<|channel|>final<|message|>"),  # gpt-oss
)
_AFTER_FINAL = ("<|return|>", "<|end|>")
_UNMARKED = ("analysis", "assistantfinal")
"""What is left of gpt-oss' marks where a server leaves out special tokens."""


@dataclass(frozen=True)
class SplitReply:
    """A reply without its thoughts."""

    text: str
    thoughts: str = ""
    is_open: bool = False
    """Whether a thought was not closed, so that there is no reply, or none after it."""


def split_message(message: dict[str, Any]) -> SplitReply:
    """Split the message of an endpoint's answer.

    Raises:
        TypeError: its content is neither a text, nor a list of parts, nor missing.
    """
    parts = message.get("content")
    content = content_text(parts)
    named = [message.get("reasoning_content"), message.get("reasoning"), _join(parts, "thinking")]
    thoughts = next((value for value in named if isinstance(value, str) and value.strip()), "")
    if thoughts and not content.lstrip().startswith(tuple(start for start, _ in MARKS)):
        return SplitReply(content.strip(), thoughts.strip())
    inline = split_text(content)
    both = "\n".join(filter(None, [thoughts.strip(), inline.thoughts]))
    return SplitReply(inline.text, both, inline.is_open)


def content_text(content: Any) -> str:
    """Return the text of a message's content, or of a streamed piece of it: a text, a list of parts, or None.

    Raises:
        TypeError: it is something else.
    """
    if isinstance(content, list):
        return _join(content, "text")
    if content is not None and not isinstance(content, str):
        raise TypeError
    return content or ""


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
    for mark in _AFTER_FINAL:
        reply = reply.removesuffix(mark).strip()
    thoughts = "\n".join(filter(None, (_without_marks(text[:end]), _without_marks(text[begin:]))))
    return SplitReply(reply, thoughts, is_open=begin < len(text))


def _without_marks(text: str) -> str:
    for mark in (mark for pair in MARKS for mark in pair):
        text = text.replace(mark, "")
    return text.strip()


def _join(parts: Any, kind: str) -> str:
    """Return the text of all parts of a kind; the text of a `thinking` part is itself a list of parts."""
    if not isinstance(parts, list):
        return ""
    found = [part.get(kind) for part in parts if isinstance(part, dict) and part.get("type") == kind]
    return "".join(each if isinstance(each, str) else _join(each, "text") for each in found)

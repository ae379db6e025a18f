"""Splits the thoughts of a reasoning model off its reply, in whatever form an endpoint sends them.

Some have a field for them, some send a list of typed parts, and a server without a parser for its model leaves them in
the text.
"""

from typing import Any

from factory.text.thoughts import MARKS, SplitReply, split_text


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


def _join(parts: Any, kind: str) -> str:
    """Return the text of all parts of a kind; the text of a `thinking` part is itself a list of parts."""
    if not isinstance(parts, list):
        return ""
    found = [part.get(kind) for part in parts if isinstance(part, dict) and part.get("type") == kind]
    return "".join(each if isinstance(each, str) else _join(each, "text") for each in found)

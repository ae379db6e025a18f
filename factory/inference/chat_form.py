"""Finds out how a chat template wants its messages, and how it ends a reply, by rendering short chats.

Templates differ in what they accept: a text, a list of parts, no system message at all. And in what they write: the
end of a turn may be one token or two, or the beginning of the next turn.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from jinja2 import TemplateError

from factory.errors import ModelError
from factory.records import Message
from factory.text.thoughts import MARKS

DAY = datetime(2024, 7, 26)
"""The date that a template tells unless `date_string` names another: the one that LLaMA 3.1's and 3.2's fall back to.
Today's would change what a model is asked with from one day to the next."""
DATE_FORMAT = "%d %b %Y"
_THOUGHT_KEYS = ("reasoning_content", "reasoning", "thinking")
"""What templates call the thoughts of a message: Qwen's; LFM's and Gemma's; gpt-oss'."""
_THOUGHT_ENDS = {**dict(MARKS), "<think>": "\n</think>\n\n"}
OPEN_THOUGHT = re.compile(rf"({'|'.join(map(re.escape, _THOUGHT_ENDS))})\s*\Z")
_FIRST_USER = """\
{%- if messages and messages[0]['role'] == 'system' -%}
{%- if messages | length > 1 and messages[1]['role'] == 'user' -%}
{%- set messages = [{'role': 'user', 'content': messages[0]['content'] + '\\n\\n' + messages[1]['content']}]
    + messages[2:] -%}
{%- else -%}
{%- set messages = [{'role': 'user', 'content': messages[0]['content']}] + messages[1:] -%}
{%- endif -%}
{%- endif -%}
"""
"""Begins a template that takes no system message: its text opens the first user message."""


@dataclass(frozen=True)
class ChatForm:
    """A chat template, and how to use it."""

    template: str
    """As it came, or with a prologue that merges the system message into the first user message."""
    in_parts: bool = False
    """Whether the content of a message is a list of parts, as in templates for images."""
    after_reply: str = ""
    """What stands behind the last reply of a finished chat."""
    close: str = ""
    """The beginning of that, which the model writes itself: up to the last of the adjacent control tokens."""
    end: int = -1
    """The id of the last control token in `close`."""
    thought_end: str = ""
    """What stands between thoughts and a reply; empty if the template shows no thoughts."""


Render = Callable[[ChatForm, Sequence[Message], bool, str], str]
"""Renders messages in a form, with or without the opening of the next reply, and with thoughts of the last message."""


def template_kwargs(source: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the variables of a chat template: those given, without thinking and on a fixed day by default."""
    defaults = {"enable_thinking": False, "date_string": DAY.strftime(DATE_FORMAT)}
    return {name: value for name, value in defaults.items() if name in source} | dict(given)


def clock(given: Mapping[str, Any]) -> Callable[[str], str]:
    """Return what a template gets as `strftime_now`: the day of `date_string`, else `DAY`."""
    date = given.get("date_string")
    return (datetime.strptime(date, DATE_FORMAT) if date else DAY).strftime


def to_chat(messages: Sequence[Message], in_parts: bool, thoughts: str = "") -> list[dict[str, Any]]:
    """Return messages as a template takes them, with the thoughts of the last one."""
    chat: list[dict[str, Any]] = [
        {"role": m.role, "content": [{"type": "text", "text": m.content}] if in_parts else m.content} for m in messages
    ]
    if thoughts:
        chat[-1] |= dict.fromkeys(_THOUGHT_KEYS, thoughts)
    return chat


def find_form(
    folder: str, source: str, render: Render, names: re.Pattern[str], token_id: Callable[[str], int | None]
) -> ChatForm:
    """Find the form of a chat template.

    Args:
        folder: the model's, for messages.
        source: the template.
        render: renders a chat.
        names: the control tokens that have an id.
        token_id: returns the id of a control token, if it is one token also behind text.

    Raises:
        ModelError: the template refuses a chat, leaves out a message, or ends a reply without a control token.
    """
    form = _accepted_form(folder, source, render)
    chat = [Message("system", "s"), Message("user", "u"), Message("assistant", "\ue000\ue001"), Message("user", "v")]
    after = render(form, chat[:3], False, "").rpartition("\ue001")[2]
    following = after if names.search(after) else render(form, chat, False, "").rpartition("\ue001")[2]
    found = re.search(rf"(?:{names.pattern})*(?P<last>{names.pattern})", following)
    if not found:
        raise ModelError(
            f"model {folder!r}: its chat template ends a reply without a special token of its tokenizer (with "
            f"{following[:40]!r}); name another one"
        )
    end = token_id(found["last"])
    if end is None:
        raise ModelError(
            f"model {folder!r}: its chat template ends a reply with {found['last']!r}, which its tokenizer does not "
            "read as one token; name another template"
        )
    shown = render(form, chat[:3], False, "\ue002")
    between = re.search("\ue002(.*)\ue000", shown, re.DOTALL)
    return ChatForm(form.template, form.in_parts, after, following[: found.end()], end, between[1] if between else "")


def _accepted_form(folder: str, source: str, render: Render) -> ChatForm:
    system, user, reply, again = (f"\ue000{number}\ue001" for number in range(4))
    chat = [Message("system", system), Message("user", user), Message("assistant", reply), Message("user", again)]
    problems: list[ModelError] = []
    for form in (ChatForm(source), ChatForm(source, in_parts=True), ChatForm(_FIRST_USER + source)):
        try:
            first, later = render(form, chat[:2], True, ""), render(form, chat, True, "")
        except ModelError as problem:
            problems.append(problem)
            continue
        hidden = [m.role for m in chat if m.content not in (first if m in chat[:2] else later)]
        hidden += [m.role for m in chat[:2] if m.content not in later]
        if not hidden:
            return form
        problems.append(
            ModelError(f"model {folder!r}: its chat template leaves out the {hidden[0]} message; name another one")
        )
    raise problems[0]


def open_thought_end(form: ChatForm, prompt: str) -> str | None:
    """Return what ends the thought that a prompt leaves open; None if it leaves none open."""
    opening = OPEN_THOUGHT.search(prompt)
    return (form.thought_end or _THOUGHT_ENDS[opening[1]]) if opening else None


def describe(folder: str, messages: Sequence[Message], problem: Exception) -> ModelError:
    """Return the error of a template that raised: it is somebody's program, and raises anything."""
    roles = ", ".join(dict.fromkeys(m.role for m in messages))
    kind = "" if isinstance(problem, TemplateError) else f"{type(problem).__name__}: "
    said = kind + " ".join(str(problem)[:300].split())
    return ModelError(
        f"model {folder!r}: its chat template refuses a chat of {roles} ({said}); "
        "take another model, or a folder of it with a chat_template.jinja that takes them"
    )

"""What a model is asked for in the playground: a profile, and replies that stream, each with its failure in words."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from pydantic import SecretStr

from factory.config import OpenAIEngine, Sampling
from factory.inference.multi_turn import attempt_temperature
from factory.inference.openai import api_key, most_characters, response_format
from factory.inference.prompts import Prompt
from factory.playground.chat_models import Speaker
from factory.records import Completion, Message, Persona, Profile
from factory.synthesis.profiles import parse_profile, render_profile
from factory.text.control_tokens import escape_control_tokens
from factory.text.normalize import is_text

SHOW_EVERY_S = 0.05
"""A page that is told of every token does nothing else."""
WRITING_S = 600
"""The longest that a text may take to be written, however slowly it comes: others wait for its place."""


@dataclass
class Reply:
    """A reply as far as it is written."""

    text: str = ""
    problem: str = ""
    """Why there is no more of it, to the person who waits; empty where it is whole."""


def make_client(endpoint: OpenAIEngine, max_tokens: int) -> Any:
    """Return a client of a model; it lives in one event loop.

    Args:
        endpoint: where the model is.
        max_tokens: the most that a text is asked for.
    """
    from factory.inference import http_clients

    return http_clients.make_client(
        endpoint,
        SecretStr(api_key(endpoint)),
        max_tokens=max_tokens,
        attempt_s=max(WRITING_S, endpoint.timeout_s),
        max_retries=min(endpoint.max_retries, 2),  # a person waits
    )


def _asked(endpoint: OpenAIEngine, messages: Iterable[Message], sampling: Sampling) -> dict[str, Any]:
    drawn = {name: value for name, value in sampling if name != "frequency_penalty" or value}
    told = [{"role": m.role, "content": escape_control_tokens(m.content, endpoint.special_tokens)} for m in messages]
    return {"model": endpoint.model, "messages": told, **drawn}


async def write_profile(
    client: Any, speaker: Speaker, prompt: Prompt, language: str, persona: Persona, sampling: Sampling, attempts: int
) -> Profile | str:
    """The profile of a persona, asked for as synthesis does; or why there is none, in words."""
    request = render_profile(prompt, language, persona)
    for attempt in range(attempts):
        asked = _asked(speaker.endpoint, request.messages, sampling)
        asked |= response_format(speaker.endpoint.structured, request.schema)
        asked["temperature"] = attempt_temperature(sampling.temperature, attempt > 0)
        try:
            answer = await client.chat.completions.create(**asked)
        except Exception as problem:
            return in_words(speaker.name, problem)
        with suppress(AttributeError, IndexError, TypeError):  # an endpoint may answer anything
            made = parse_profile(language, persona, Completion((str(answer.choices[0].message.content),)))
            if isinstance(made, Profile) and answer.choices[0].finish_reason != "length":
                return made
    return f"{speaker.name} wrote no profile that can be read, {attempts} times over. Try again, or write it yourself."


async def write_reply(
    client: Any,
    speaker: Speaker,
    messages: Sequence[Message],
    sampling: Sampling,
    reply: Reply,
    more: Callable[[], None],
) -> None:
    """Write a reply into `reply` as it comes; `more` is called whenever there is more of it."""
    try:
        stream = await client.chat.completions.create(**_asked(speaker.endpoint, messages, sampling), stream=True)
        async with stream:
            async for chunk in stream:
                for choice in chunk.choices[:1]:
                    reply.text += choice.delta.content or ""
                    if choice.finish_reason == "length":
                        reply.problem = f"{speaker.name} was cut at {sampling.max_tokens:,} tokens."
                if len(reply.text) > most_characters(sampling.max_tokens):
                    reply.problem = f"{speaker.name} did not end at {sampling.max_tokens:,} tokens, and was cut."
                    break
                more()
    except Exception as problem:
        reply.problem = in_words(speaker.name, problem)
    if not reply.text.strip():
        reply.problem = reply.problem or f"{speaker.name} said nothing."
    more()


def legible(text: str) -> str:
    """A reply as the page and the table of votes can hold it.

    Servers cut their chunks where they like, also in the middle of a surrogate pair: halves that meet are
    one character again, others and NUL bytes are left out.
    """
    if is_text(text):
        return text
    return text.replace("\0", "").encode("utf-16-le", "surrogatepass").decode("utf-16-le", "ignore")


async def side_by_side(
    writers: dict[str, Callable[[Reply, Callable[[], None]], Any]], done: Callable[[], None]
) -> AsyncGenerator[dict[str, Reply], None]:
    """Let several models write at the same time; yields what each has at once, whenever there is more, and at the end.

    They have begun when it first yields, and none is left when it is closed.

    Args:
        writers: by name, what writes a reply and calls its second argument whenever there is more.
        done: is called once for each, when it has ended in whatever way.
    """
    news = asyncio.Event()
    replies = {name: Reply() for name in writers}

    def ended(_: object) -> None:
        done()
        news.set()

    tasks = [asyncio.ensure_future(write(replies[name], news.set)) for name, write in writers.items()]
    for task in tasks:
        task.add_done_callback(ended)
    news.set()  # the person's own words are shown before any reply comes
    try:
        while True:
            await news.wait()
            news.clear()
            last = all(task.done() for task in tasks)
            yield replies
            if last:
                return
            await asyncio.sleep(SHOW_EVERY_S)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


def in_words(name: str, problem: Exception) -> str:
    """A failed request, to the person who waits for it; nothing of what the endpoint says, which may hold anything."""
    import httpx2
    import openai

    status = getattr(problem, "status_code", 0)
    if status in (429, 503):
        return f"{name} is busy; try again in a moment."
    if status == 400 and any(word in str(problem).lower() for word in ("context length", "model_len", "too long")):
        return f"{name}: the conversation is longer than the model can read. Begin a new one."
    if isinstance(problem, openai.APIConnectionError | httpx2.TransportError):
        return f"{name} does not answer; try again in a moment."
    return f"{name} could not reply ({f'status {status}' if status else type(problem).__name__})."

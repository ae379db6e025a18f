"""Requests to the playground's models: profiles and streamed replies, with failures as messages to the user."""

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from pydantic import SecretStr

from factory.config import OpenAIEngine, Sampling
from factory.inference.engines.endpoint_key import api_key
from factory.inference.engines.endpoint_reply import max_characters, parse_reply
from factory.inference.engines.endpoint_request import request_body
from factory.inference.engines.endpoint_thoughts import content_text
from factory.inference.multi_turn import RowError, attempt_temperature
from factory.inference.prompts import Prompt
from factory.playground.chat_models import ChatModel
from factory.records import Completion, Message, Persona, Profile
from factory.synthesis.profiles import parse_profile, render_profile
from factory.text.normalize import is_text
from factory.text.thoughts import split_text

UPDATE_EVERY_S = 0.05
"""Time between two updates of the page, which could not keep up with one per token."""
MAX_TEXT_S = 600
"""Maximum duration of a text, however slowly it arrives: others wait for its slot."""


@dataclass
class StreamedReply:
    """The part of a reply that has arrived."""

    text: str = ""
    problem: str = ""
    """Why the reply is missing or cut, for the user; empty otherwise."""


def make_client(endpoint: OpenAIEngine, max_tokens: int) -> Any:
    """Return a client of a model, for one event loop.

    Args:
        endpoint: the model's endpoint.
        max_tokens: the maximum length of a text.
    """
    from factory.inference.engines import http_clients

    return http_clients.make_client(
        endpoint,
        SecretStr(api_key(endpoint)),
        max_tokens=max_tokens,
        attempt_s=max(MAX_TEXT_S, endpoint.timeout_s),
        max_retries=min(endpoint.max_retries, 2),  # a user waits
    )


async def generate_profile(
    client: Any, model: ChatModel, prompt: Prompt, language: str, persona: Persona, sampling: Sampling, attempts: int
) -> Profile | str:
    """Return a profile of a persona, generated as in synthesis, or a message that explains the failure."""
    request = render_profile(prompt, language, persona)
    for attempt in range(attempts):
        temperature = attempt_temperature(sampling.temperature, attempt > 0)
        parameters = {**sampling.model_dump(), "temperature": temperature}
        body = request_body(model.endpoint, request.messages, parameters, request.schema)
        try:
            answer = await client.chat.completions.with_raw_response.create(**body)
        except Exception as problem:
            return describe_failure(model.name, problem)
        with suppress(AttributeError, LookupError, RecursionError, RowError, TypeError, ValueError):
            reply = parse_reply(json.loads(answer.content), sampling.max_tokens)
            profile = parse_profile(language, persona, Completion((reply.text,)), own=prompt.fields)
            if isinstance(profile, Profile) and not reply.truncated:
                return profile
    return f"{model.name} returned no valid profile in {attempts} attempts. Try again, or write the profile yourself."


async def stream_reply(
    client: Any,
    model: ChatModel,
    messages: Sequence[Message],
    sampling: Sampling,
    reply: StreamedReply,
    on_update: Callable[[], None],
) -> None:
    """Stream a model's reply into `reply`, without its thoughts; call `on_update` after each change."""
    written = ""
    try:
        body = request_body(model.endpoint, messages, sampling.model_dump())
        stream = await client.chat.completions.create(**body, stream=True)
        async with stream:
            async for chunk in stream:
                for choice in chunk.choices[:1]:
                    written += content_text(choice.delta.content)
                    if choice.finish_reason == "length":
                        reply.problem = f"{model.name}: the reply was cut at {sampling.max_tokens:,} tokens."
                reply.text = split_text(written).text
                if len(written) > max_characters(sampling.max_tokens):
                    reply.problem = (
                        f"{model.name} did not stop after {sampling.max_tokens:,} tokens; the reply was cut."
                    )
                    break
                on_update()
    except Exception as problem:
        reply.problem = describe_failure(model.name, problem)
    if not reply.text.strip():
        reply.problem = reply.problem or f"{model.name} returned an empty reply."
    on_update()


def repair_text(text: str) -> str:
    """Return a reply that the page and the table of votes can store.

    Servers may split chunks inside a surrogate pair: adjacent halves are joined into one character; other
    halves and NUL bytes are removed.
    """
    if is_text(text):
        return text
    return text.replace("\0", "").encode("utf-16-le", "surrogatepass").decode("utf-16-le", "ignore")


async def stream_side_by_side(
    streams: dict[str, Callable[[StreamedReply, Callable[[], None]], Any]], on_end: Callable[[], None]
) -> AsyncGenerator[dict[str, StreamedReply], None]:
    """Stream the replies of several models concurrently; yield them at the start, after changes, and at the end.

    All streams have started when it first yields, and all have ended when it is closed.

    Args:
        streams: by model name, a function that fills a reply and calls its second argument after each change.
        on_end: called once per stream when it ends, in whatever way.
    """
    changed = asyncio.Event()
    replies = {name: StreamedReply() for name in streams}

    def ended(_: object) -> None:
        on_end()
        changed.set()

    tasks = [asyncio.ensure_future(stream(replies[name], changed.set)) for name, stream in streams.items()]
    for task in tasks:
        task.add_done_callback(ended)
    changed.set()  # shows the user's own message before any reply arrives
    try:
        while True:
            await changed.wait()
            changed.clear()
            is_last = all(task.done() for task in tasks)
            yield replies
            if is_last:
                return
            await asyncio.sleep(UPDATE_EVERY_S)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


def describe_failure(name: str, problem: Exception) -> str:
    """Return a message to the user about a failed request, without the endpoint's text, which may contain anything."""
    import httpx2
    import openai

    status = getattr(problem, "status_code", 0)
    if status in (429, 503):
        return f"{name} is busy; try again in a moment."
    if status == 400 and any(word in str(problem).lower() for word in ("context length", "model_len", "too long")):
        return f"{name}: the conversation is longer than the model's context. Start a new one."
    if isinstance(problem, openai.APIConnectionError | httpx2.TransportError):
        return f"{name} does not respond; try again in a moment."
    return f"{name} could not reply ({f'status {status}' if status else type(problem).__name__})."

"""The actions of the page. They get a session's state as arguments: none of it is stored here."""

import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any
from uuid import uuid4

from factory.config import RunConfig
from factory.inference.prompts import load_prompt
from factory.playground.chat_models import ChatModel
from factory.playground.conversation import (
    Conversation,
    Turn,
    build_feedback,
    displayed_messages,
    start_conversation,
)
from factory.playground.known_characters import KnownCharacter
from factory.playground.profile_form import FormError, read_message, read_persona, read_profile
from factory.playground.rate_limits import ConcurrencyLimit, RateLimiter
from factory.playground.streaming import (
    StreamedReply,
    generate_profile,
    make_client,
    repair_text,
    stream_reply,
    stream_side_by_side,
)
from factory.playground.vote_writer import store_vote
from factory.playground.votes_table import Vote
from factory.records import Message, Profile

VOTE_STORED = {"up": "Saved: thumbs up.", "down": "Saved: thumbs down.", "none": "Saved: your vote is withdrawn."}


@dataclass
class Session:
    """The state of one session, stored in gradio's state of that session only."""

    is_replying: bool = False
    """Whether replies to the session are being generated."""


@dataclass(frozen=True)
class PageUpdate:
    """The content of the page after a part of the replies has arrived."""

    conversation: Conversation
    columns: dict[str, list[dict[str, str]]]
    """The messages in each model's column, by model name."""
    note: str


class PlaygroundController:
    """The logic behind the page.

    Args:
        config: the run's.
        models: the models to talk to, in the order of their columns.
        note: a note to users about a missing model.
        vote_writer: the Serve handle that stores votes.
        characters: those that the page offers.
    """

    def __init__(
        self,
        config: RunConfig,
        models: Sequence[ChatModel],
        note: str,
        vote_writer: Any,
        characters: Sequence[KnownCharacter] = (),
    ) -> None:
        self.config = config
        self.models = {model.name: model for model in models}
        self.note = note
        self.characters = characters
        self._vote_writer = vote_writer
        self._rate_limiter = RateLimiter(config.chat.requests_per_minute)
        self._slots = ConcurrencyLimit(config.chat.max_concurrency)
        self._profile_prompt = load_prompt("profile", config.prompt_places)
        self.system_prompt = load_prompt("training-system", config.prompt_places)

    def build_page(self) -> Any:
        """Return the gradio page, with its events connected."""
        from factory.playground.ui import build_page  # it imports this module

        return build_page(self)

    @cached_property
    def _clients(self) -> dict[str, Any]:  # not in __init__: a client belongs to the event loop that first uses it
        max_tokens = max(self.config.chat.sampling.max_tokens, self.config.profiles.sampling.max_tokens)
        return {name: make_client(model.endpoint, max_tokens) for name, model in self.models.items()}

    async def describe(self, description: str, address: str) -> tuple[Profile | None, str]:
        """Return a generated profile and a message; None with the reason if there is none."""
        chat = self.config.chat
        try:
            persona = read_persona(description, chat.persona_characters)
            began = self._admit(address, 1)
        except FormError as problem:
            return None, str(problem)
        model = self.models[chat.profile_model or next(iter(self.models))]
        try:
            profile = await generate_profile(
                self._clients[model.name],
                model,
                self._profile_prompt,
                self.config.profiles.language,
                persona,
                self.config.profiles.sampling,
                chat.attempts,
            )
        finally:
            self._slots.release(time.monotonic(), began)
        if isinstance(profile, str):
            return None, profile
        return profile, f"Written by {model.name}. Change what you like, then talk to {profile.name}."

    def begin(self, description: str, fields: Sequence[str]) -> tuple[Conversation | None, str]:
        """Start a conversation with a described character; None with the reason if an input is invalid.

        Args:
            description: the persona.
            fields: the eight fields of the profile.
        """
        try:
            persona = read_persona(description, self.config.chat.persona_characters)
            profile = read_profile(fields)
        except FormError as problem:
            return None, str(problem)
        return start_conversation(uuid4().hex, persona, profile, self.system_prompt), ""

    def pick(self, character: KnownCharacter) -> Conversation:
        """Start a conversation with a character that the page offers."""
        return start_conversation(uuid4().hex, character.persona, character.profile, self.system_prompt)

    async def talk(
        self, text: str, conversation: Conversation | None, session: Session, address: str
    ) -> AsyncGenerator[PageUpdate | str, None]:
        """Send a message to all models and yield their replies as they arrive; yield only a text if it is refused.

        gradio may close the generator at any yield, as when a tab is closed: there must be no yield between
        reserving the slots and starting the streams that release them.
        """
        try:
            if conversation is None:
                raise FormError("Pick or describe a character first.")
            message = read_message(text, self.config.chat.message_characters)
            if session.is_replying:
                raise FormError("Wait for the reply to your last message.")
            streams = {name: self._stream(model, conversation, message) for name, model in self.models.items()}
            began = self._admit(address, len(streams))
        except FormError as problem:
            yield str(problem)
            return
        session.is_replying = True
        try:
            async with aclosing(stream_side_by_side(streams, partial(self._release, began))) as updates:
                async for replies in updates:
                    yield self._page_update(conversation, message, replies, complete=False)
            yield self._page_update(conversation, message, replies, complete=True)
        finally:
            session.is_replying = False

    def _stream(
        self, model: ChatModel, conversation: Conversation, message: str
    ) -> Callable[[StreamedReply, Callable[[], None]], Any]:
        messages = (*conversation.messages(model.name), Message("user", message))
        return partial(stream_reply, self._clients[model.name], model, messages, self.config.chat.sampling)

    def _page_update(
        self, before: Conversation, message: str, replies: dict[str, StreamedReply], complete: bool
    ) -> PageUpdate:
        texts = {name: repair_text(reply.text).strip() for name, reply in replies.items()}
        conversation = before.with_turn(Turn(message, texts, complete))
        columns = {name: displayed_messages(conversation, name) for name in self.models}
        for name, column in columns.items():
            if not (replies[name].text or replies[name].problem):
                column[-1] = {"role": "assistant", "content": "..."}
        problems = [reply.problem for reply in replies.values() if reply.problem]
        return PageUpdate(conversation, columns, " ".join(problems) if complete else "Writing ...")

    async def vote(self, conversation: Conversation | None, name: str, index: int, liked: object) -> str:
        """Store a vote on a message in a model's column, and return a message about it."""
        feedback = conversation and build_feedback(conversation, name, index // 2, liked)
        if not feedback:
            return "There is no complete reply to vote on."
        vote = Vote(feedback, self.models[name].model, self.system_prompt.ref)
        if await store_vote(self._vote_writer, vote):
            return VOTE_STORED[feedback.vote]
        return "Your vote could not be saved; try again in a moment."

    def _admit(self, address: str, texts: int) -> float:
        """Reserve slots for a request, and return the time.

        Raises:
            FormError: the address reached its limit, or there are not enough free slots.
        """
        now, chat = time.monotonic(), self.config.chat
        if wait_s := self._rate_limiter.admit(address, now):
            raise FormError(
                f"The limit is {chat.requests_per_minute} requests per minute; try again in {wait_s} seconds."
            )
        if not self._slots.acquire(now, texts):
            self._rate_limiter.refund(address)
            raise FormError(f"Busy with other requests; try again in {self._slots.wait_s(now)} seconds.")
        return now

    def _release(self, began: float) -> None:
        self._slots.release(time.monotonic(), began)

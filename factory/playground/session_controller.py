"""What the page's buttons do. A session is what it is handed: nothing of one is kept here."""

import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any
from uuid import uuid4

from factory.config import RunConfig
from factory.inference.prompts import load_prompt
from factory.playground import conversation as talks
from factory.playground.chat_models import Speaker
from factory.playground.conversation import Conversation, Turn
from factory.playground.profile_form import Refused, read_message, read_persona, read_profile
from factory.playground.rate_limits import Allowances, Places
from factory.playground.streaming import Reply, legible, make_client, side_by_side, write_profile, write_reply
from factory.playground.vote_writer import tell
from factory.playground.votes_table import Vote
from factory.records import Message, Profile

SAID = {"up": "Kept: thumbs up.", "down": "Kept: thumbs down.", "none": "Kept: your vote is taken back."}


@dataclass
class Session:
    """What one session does; it lives in the session's state, and nobody else's."""

    talking: bool = False
    """Whether a reply to the session is being written."""


@dataclass(frozen=True)
class Scene:
    """What the page shows after a step of a reply."""

    conversation: Conversation
    sides: dict[str, list[dict[str, str]]]
    """Each model's side, as the page shows messages."""
    note: str


class Stage:
    """The playground behind the page.

    Args:
        config: the run's.
        speakers: who can be talked to, in the order in which they are shown.
        note: what a person should know of those that are missing.
        keeper: stores votes.
    """

    def __init__(self, config: RunConfig, speakers: Sequence[Speaker], note: str, keeper: Any) -> None:
        self.config = config
        self.speakers = {speaker.name: speaker for speaker in speakers}
        self.note = note
        self._keeper = keeper
        self._allowances = Allowances(config.chat.requests_per_minute)
        self._places = Places(config.chat.max_concurrency)
        self._profile_prompt = load_prompt("profile", config.prompts_dir)
        self.system_prompt = load_prompt("training-system", config.prompts_dir)

    @cached_property
    def _clients(self) -> dict[str, Any]:  # not above: a client belongs to the event loop that first uses it
        most_tokens = max(self.config.chat.sampling.max_tokens, self.config.profiles.sampling.max_tokens)
        return {name: make_client(speaker.endpoint, most_tokens) for name, speaker in self.speakers.items()}

    async def describe(self, description: str, address: str) -> tuple[Profile | None, str]:
        """Make a profile of a description from an address; None with what is in its way."""
        chat = self.config.chat
        try:
            persona = read_persona(description, chat.persona_characters)
            began = self._admit(address, 1)
        except Refused as problem:
            return None, str(problem)
        writer = self.speakers[chat.profile_model or next(iter(self.speakers))]
        try:
            made = await write_profile(
                self._clients[writer.name],
                writer,
                self._profile_prompt,
                self.config.profiles.language,
                persona,
                self.config.profiles.sampling,
                chat.attempts,
            )
        finally:
            self._places.give_back(time.monotonic(), began)
        if isinstance(made, str):
            return None, made
        return made, f"Written by {writer.name}. Change what you like, then talk to {made.name}."

    def begin(self, description: str, items: Sequence[str]) -> tuple[Conversation | None, str]:
        """A description and the items of a profile to a conversation; None with what is in its way."""
        try:
            persona = read_persona(description, self.config.chat.persona_characters)
            profile = read_profile(items)
        except Refused as problem:
            return None, str(problem)
        return talks.begin(uuid4().hex, persona, profile, self.system_prompt), ""

    async def talk(
        self, text: str, conversation: Conversation | None, session: Session, address: str
    ) -> AsyncGenerator[Scene | str, None]:
        """A message to what the models reply, as they write it; a text alone says why there is no reply.

        gradio closes it at any yield, as when a tab is closed: nothing may stand between the places that
        were taken and the writers that give them back.
        """
        try:
            if conversation is None:
                raise Refused("Describe a character first.")
            message = read_message(text, self.config.chat.message_characters)
            if session.talking:
                raise Refused("Wait for the reply to your last message.")
            writers = {name: self._writer(speaker, conversation, message) for name, speaker in self.speakers.items()}
            began = self._admit(address, len(writers))
        except Refused as problem:
            yield str(problem)
            return
        session.talking = True
        try:
            async with aclosing(side_by_side(writers, partial(self._done, began))) as writing:
                async for replies in writing:
                    yield self._scene(conversation, message, replies, whole=False)
            yield self._scene(conversation, message, replies, whole=True)
        finally:
            session.talking = False

    def _writer(
        self, speaker: Speaker, conversation: Conversation, message: str
    ) -> Callable[[Reply, Callable[[], None]], Any]:
        said = (*conversation.messages(speaker.name), Message("user", message))
        return partial(write_reply, self._clients[speaker.name], speaker, said, self.config.chat.sampling)

    def _scene(self, before: Conversation, message: str, replies: dict[str, Reply], whole: bool) -> Scene:
        said = {name: legible(reply.text).strip() for name, reply in replies.items()}
        now = before.with_turn(Turn(message, said, whole))
        sides = {name: talks.shown(now, name) for name in self.speakers}
        for name, side in sides.items():
            if not (replies[name].text or replies[name].problem):
                side[-1] = {"role": "assistant", "content": "..."}
        problems = [reply.problem for reply in replies.values() if reply.problem]
        return Scene(now, sides, " ".join(problems) if whole else "Writing ...")

    async def vote(self, conversation: Conversation | None, name: str, index: int, liked: object) -> str:
        """A vote on a message of a model's side; says whether it is stored."""
        given = conversation and talks.feedback(conversation, name, index // 2, liked)
        if not given:
            return "There is no whole reply to vote on."
        vote = Vote(given, self.speakers[name].model, self.system_prompt.ref)
        if await tell(self._keeper, vote):
            return SAID[given.vote]
        return "Your vote could not be stored; try again in a moment."

    def _admit(self, address: str, texts: int) -> float:
        """Take the places that a request needs, and return when that was.

        Raises:
            Refused: the address asked for too much, or all places are taken.
        """
        now, chat = time.monotonic(), self.config.chat
        if wait_s := self._allowances.wait_s(address, now):
            raise Refused(f"{chat.requests_per_minute} requests a minute are the most; try again in {wait_s} seconds.")
        if not self._places.take(now, texts):
            self._allowances.give_back(address)
            raise Refused(f"Busy: others are being answered; try again in {self._places.wait_s(now)} seconds.")
        return now

    def _done(self, began: float) -> None:
        self._places.give_back(time.monotonic(), began)

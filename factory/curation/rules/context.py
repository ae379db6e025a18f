"""A dialogue as the rules see it."""

import re
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from factory.records import Message
from factory.text.ngrams import word_hashes

LONG_REPLY = 8
"""A reply of at least this many words is no polite phrase, which may appear twice."""
_NAME = re.compile(r"^Name:[ \t]*(\S[^\n]{0,200})", re.MULTILINE)
_NAME_PARTS = re.compile(r"[^\W\d_][\w'\u2019-]+")


@dataclass(frozen=True)
class DialogueContext:
    """A dialogue with its character and everything else that rules compare it with."""

    messages: tuple[Message, ...]
    persona: str
    profile: str
    references: tuple[str, ...] = ()
    """The responses that the replies were rewritten from; empty for generated dialogues."""
    languages: frozenset[str] = frozenset()
    """The languages of the characters, as `factory.text.language` names them; empty: replies may be in any."""
    prompts: tuple[str, ...] = ()
    """The fixed texts of the prompts."""

    @cached_property
    def users(self) -> tuple[str, ...]:
        """The user turns."""
        return tuple(m.content for m in self.messages if m.role == "user")

    @cached_property
    def user_text(self) -> str:
        """All user turns as one text."""
        return "\n".join(self.users)

    @cached_property
    def replies(self) -> tuple[str, ...]:
        """The assistant turns."""
        return tuple(m.content for m in self.messages if m.role == "assistant")

    @cached_property
    def reply_hashes(self) -> tuple[np.ndarray, ...]:
        """The word hashes of each reply."""
        return tuple(map(word_hashes, self.replies))

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The name in the profile, and its parts."""
        match = _NAME.search(self.profile)
        return (match[1].rstrip(), *_NAME_PARTS.findall(match[1])) if match else ()

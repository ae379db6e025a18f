"""A dialogue as the rules see it, and what they are given beside it."""

import re
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from factory.config import Quality
from factory.records import Message
from factory.storage.rows import Row, to_messages
from factory.text.ngrams import word_hashes

_NAME = re.compile(r"^Name:[ \t]*(\S[^\n]{0,200})", re.MULTILINE)
_PARTS = re.compile(r"[^\W\d_][\w'\u2019-]+")


@dataclass(frozen=True)
class DialogueContext:
    """A dialogue with its character, and with the references where it was rewritten from them."""

    messages: tuple[Message, ...]
    persona: str
    profile: str
    references: tuple[str, ...] = ()

    @staticmethod
    def of(dialogue: Row, assignment: Row) -> "DialogueContext":
        """A row of `dialogues` and the row of `assignments` that it was made of."""
        references = [m.content for m in to_messages(assignment) if m.role == "assistant"]
        return DialogueContext(
            messages=to_messages(dialogue),
            persona=assignment["persona"],
            profile=assignment["profile"],
            references=tuple(references) if dialogue["strategy"] == "rewrite" else (),
        )

    @cached_property
    def users(self) -> tuple[str, ...]:
        """The user's turns."""
        return tuple(m.content for m in self.messages if m.role == "user")

    @cached_property
    def replies(self) -> tuple[str, ...]:
        """The assistant's turns."""
        return tuple(m.content for m in self.messages if m.role == "assistant")

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The name in the profile, and its parts."""
        match = _NAME.search(self.profile)
        return (match[1].rstrip(), *_PARTS.findall(match[1])) if match else ()

    @cached_property
    def reply_hashes(self) -> tuple[np.ndarray, ...]:
        """The words of each reply as numbers."""
        return tuple(map(word_hashes, self.replies))


@dataclass(frozen=True)
class RuleSettings:
    """What decides beside the dialogue itself."""

    quality: Quality
    languages: frozenset[str] = frozenset()
    """Those that the characters speak, as `language` names them; none: replies may be in any."""
    prompts: tuple[str, ...] = ()
    """The fixed texts of the prompts."""

"""Every record that crosses a boundary, in the order in which the data flows.

    Persona      synthesis.personas     -> synthesis.profiles
    Profile      synthesis.profiles     -> synthesis.assignment
    Instruction  synthesis.instructions -> synthesis.assignment
    Assignment   synthesis.assignment   -> synthesis.dialogues
    Dialogue     synthesis.dialogues    -> curation
    Example      curation.writing       -> training

    Request      a step's `render`      -> engine
    Completion   engine                 -> a step's `parse`
    Reject       any step               -> the same table, with `status = rejected`

Ids are hashes of content: the 16 hexadecimal digits of a 64-bit hash, so that a table can be
sorted and partitioned by the same number as an int64 (`key_of`).
"""

import hashlib
from dataclasses import dataclass, field

from pydantic import BaseModel, ConfigDict, Field


def content_id(*parts: str) -> str:
    """Hash strings to an id of 16 hexadecimal digits; the same strings always give the same id."""
    digest = hashlib.blake2b(digest_size=8)
    for part in parts:
        data = part.encode()
        digest.update(len(data).to_bytes(8, "little"))  # ("ab", "c") is not ("a", "bc")
        digest.update(data)
    return digest.hexdigest()


def key_of(content_hash: str) -> int:
    """The id as a signed 64-bit integer, as Arrow and NumPy hold it."""
    return int.from_bytes(bytes.fromhex(content_hash), "big", signed=True)


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a chat; `role` is `system`, `user` or `assistant`."""

    role: str
    content: str


@dataclass(frozen=True, slots=True)
class Persona:
    """One sentence about a person, normalised (Unicode NFC, single spaces)."""

    character_id: str
    persona: str


class ProfileFields(BaseModel):
    """The eight items that a model writes about a persona; its JSON schema guides decoding.

    The bounds matter: without `maxLength` a small model loops inside a string until the token
    limit (31 of 48 profiles valid against 48 of 48 with it). Together they allow about 1.9 kB.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(min_length=1, max_length=60)
    age: str = Field(min_length=1, max_length=30)
    gender: str = Field(min_length=1, max_length=30)
    race: str = Field(min_length=1, max_length=60)
    birth_place: str = Field(min_length=1, max_length=80)
    appearance: str = Field(min_length=1, max_length=400)
    experience: str = Field(min_length=1, max_length=700)
    personality: str = Field(min_length=1, max_length=500)


class RewrittenReplies(BaseModel):
    """What a model answers when it rewrites a dialogue: one text for each assistant turn."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    replies: list[str]


@dataclass(frozen=True, slots=True)
class Profile:
    """A character: the eight items and their text, which starts with `Name:`."""

    character_id: str
    persona: str
    name: str
    age: str
    gender: str
    race: str
    birth_place: str
    appearance: str
    experience: str
    personality: str
    profile: str
    language: str


@dataclass(frozen=True, slots=True)
class Instruction:
    """User turns, with the reference response after each where the corpus has them.

    `source` and `row` say where it was read: the file's number in the sorted list of files, and
    the row's number in that file, both from 0. They are the order that assignment draws in.
    """

    instruction_id: str
    corpus: str
    messages: tuple[Message, ...]
    source: int
    row: int


@dataclass(frozen=True, slots=True)
class Assignment:
    """One instruction for one character: a row of work for `synthesis.dialogues`."""

    character_id: str
    instruction_id: str
    corpus: str
    persona: str
    profile: str
    messages: tuple[Message, ...]


@dataclass(frozen=True, slots=True)
class Dialogue:
    """A system message, then user and assistant in turn."""

    dialogue_id: str
    strategy: str
    corpus: str
    instruction_id: str
    character_id: str
    messages: tuple[Message, ...]


@dataclass(frozen=True, slots=True)
class Example:
    """A dialogue of the curated set; `split` is `train` or `validation`, the same for all of a character."""

    dialogue_id: str
    character_id: str
    instruction_id: str
    corpus: str
    strategy: str
    messages: tuple[Message, ...]
    split: str


@dataclass(frozen=True, slots=True)
class Request:
    """What the engine is asked: opening messages, then one user turn after each reply.

    `schema` is a JSON schema that every reply must follow, or None.
    """

    messages: tuple[Message, ...]
    follow_ups: tuple[str, ...] = ()
    schema: str | None = None


@dataclass(frozen=True, slots=True)
class Completion:
    """What any engine gives back for one request.

    `replies` has one text a turn unless `error` is set or the last one is cut (`truncated`).
    Token counts are summed over the turns; `cached_tokens` were served from the prefix cache.
    `error` is a reason of a reject (`engine_error`, `engine_died`, `too_long`), `detail` its text.
    """

    replies: tuple[str, ...] = ()
    prompt_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    truncated: bool = False
    error: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Reject:
    """Why a row did not become what its step makes; `detail` holds the raw input or reply."""

    reason: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Counts:
    """The accounts of a table or of a part of it; `ok` and all of `rejected` add up to its rows."""

    ok: int = 0
    rejected: dict[str, int] = field(default_factory=dict)
    prompt_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0

    @property
    def rows(self) -> int:
        """Accepted and rejected rows together."""
        return self.ok + sum(self.rejected.values())

    def __add__(self, other: "Counts") -> "Counts":
        reasons = sorted(self.rejected.keys() | other.rejected.keys())
        return Counts(
            ok=self.ok + other.ok,
            rejected={r: self.rejected.get(r, 0) + other.rejected.get(r, 0) for r in reasons},
            prompt_tokens=self.prompt_tokens + other.prompt_tokens,
            output_tokens=self.output_tokens + other.output_tokens,
            cached_tokens=self.cached_tokens + other.cached_tokens,
        )

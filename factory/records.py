"""Every record that crosses a boundary, in the order in which the data flows.

    Persona      synthesis.personas     -> synthesis.profiles
    Profile      synthesis.profiles     -> synthesis.assignment
    Instruction  synthesis.instructions -> synthesis.assignment
    Assignment   synthesis.assignment   -> synthesis.dialogues
    Dialogue     synthesis.dialogues    -> curation
    Example      curation.writing       -> training
    PersonaSettings   evaluation.making -> evaluation.making
    PersonaQuestions  evaluation.making -> evaluation.made_benchmark
    Question     evaluation.benchmark   -> evaluation.answers
    Answer       evaluation.answers     -> evaluation.judge_sampling
    ScoreExamples    evaluation.yardsticks  -> evaluation.judge_sampling
    Judgment    evaluation.judge_sampling     -> evaluation.scores
    Preference   evaluation.judge_check_steps -> evaluation.judge_check_steps
    GeneralItem       evaluation.general -> evaluation.general
    GeneralResult     evaluation.general -> evaluation.general_scores
    Feedback     playground.conversation -> people

    Request      a step's `render`      -> engine
    Completion   engine                 -> a step's `parse`
    Reject       any step               -> the same table, with `status = rejected`

Ids are hashes of content: the 16 hexadecimal digits of a 64-bit hash, so that a table can be
sorted and partitioned by the same number as an int64 (`api_key_of`).
"""

import hashlib
from array import array
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, NewType

from pydantic import BaseModel, ConfigDict, Field


def content_id(*parts: str) -> str:
    """Hash strings to an id of 16 hexadecimal digits; the same strings always give the same id."""
    digest = hashlib.blake2b(digest_size=8)
    for part in parts:
        data = part.encode()
        digest.update(len(data).to_bytes(8, "little"))  # ("ab", "c") is not ("a", "bc")
        digest.update(data)
    return digest.hexdigest()


def int_key(content_hash: str) -> int:
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


def _at_most(characters: int) -> dict[str, Any]:
    """A bound for guided decoding alone: a good reply of a model that is not guided may be longer."""
    return {"maxLength": characters}


class ProfileFields(BaseModel):
    """The eight items that a model writes about a persona; its JSON schema guides decoding.

    The bounds matter: without `maxLength` a small model loops inside a string until the token
    limit (31 of 48 profiles valid against 48 of 48 with it). Together they allow about 1.9 kB.
    """

    # Models that are not guided write an age as a number.
    model_config = ConfigDict(extra="forbid", frozen=True, coerce_numbers_to_str=True)

    name: str = Field(min_length=1, json_schema_extra=_at_most(60))
    age: str = Field(min_length=1, json_schema_extra=_at_most(30))
    gender: str = Field(min_length=1, json_schema_extra=_at_most(30))
    race: str = Field(min_length=1, json_schema_extra=_at_most(60))
    birth_place: str = Field(min_length=1, json_schema_extra=_at_most(80))
    appearance: str = Field(min_length=1, json_schema_extra=_at_most(400))
    experience: str = Field(min_length=1, json_schema_extra=_at_most(700))
    personality: str = Field(min_length=1, json_schema_extra=_at_most(500))


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


class ChosenSettings(BaseModel):
    """What a model answers when it picks settings for a persona of a new benchmark."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    settings: list[str]


@dataclass(frozen=True, slots=True)
class PersonaSettings:
    """The places and occasions that a persona's questions play in."""

    persona_id: str
    persona: str
    settings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PersonaTask:
    """One task for a persona of a new benchmark, with the settings that its questions play in."""

    persona_id: str
    persona: str
    settings: tuple[str, ...]
    task: str


class TaskQuestions(BaseModel):
    """What a model answers when it writes the questions of one task for a persona."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    questions: list[str]


@dataclass(frozen=True, slots=True)
class PersonaQuestions:
    """The questions of one task for a persona of a new benchmark."""

    persona_id: str
    persona: str
    task: str
    questions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Question:
    """A question of the benchmark, put to a persona for one task."""

    question_id: str
    persona_id: str
    persona: str
    task: str
    question: str


@dataclass(frozen=True, slots=True)
class QuestionWithProfile(Question):
    """A question for a candidate; `profile` is None where it gets none, or where the persona has none."""

    profile: str | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What a candidate says to a question in the persona's role; `truncated` where `max_tokens` cut it."""

    candidate: str
    persona_id: str
    persona: str
    task: str
    question_id: str
    question: str
    answer: str
    truncated: bool


@dataclass(frozen=True, slots=True)
class AnswerWithExamples(Answer):
    """An answer for a judge; `examples` is None where the question has no score examples."""

    examples: tuple[str, ...] | None = None


class ScoreExamplesReply(BaseModel):
    """What a model answers when it writes an example reply for each score of a rubric."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    score_1: str = Field(min_length=1, json_schema_extra=_at_most(800))
    score_2: str = Field(min_length=1, json_schema_extra=_at_most(800))
    score_3: str = Field(min_length=1, json_schema_extra=_at_most(800))
    score_4: str = Field(min_length=1, json_schema_extra=_at_most(800))
    score_5: str = Field(min_length=1, json_schema_extra=_at_most(800))


@dataclass(frozen=True, slots=True)
class ScoreExamples:
    """An example reply for each of the scores 1 to 5, in this order, to one question."""

    question_id: str
    persona_id: str
    task: str
    examples: tuple[str, ...]


LONGEST_READ = 100_000
"""Characters of a judge's reasoning. With a bound pydantic also refuses half characters, which no table can hold."""


class Verdict(BaseModel):
    """What a judge answers: the reasoning comes before the score, or it would be written to fit it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    reasoning: str = Field(max_length=LONGEST_READ, json_schema_extra=_at_most(1200))
    score: Literal[1, 2, 3, 4, 5]


class PairVerdict(BaseModel):
    """What a judge answers to two replies."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    reasoning: str = Field(max_length=LONGEST_READ, json_schema_extra=_at_most(1200))
    preferred: Literal["A", "B"]


Score = NewType("Score", int)
"""1 to 5; 5 is best in every task."""


@dataclass(frozen=True, slots=True)
class Judgment:
    """One judge's score of one answer.

    `expected_score` is the mean of the scores by the probabilities that the judge gave them, None
    where it tells none.
    """

    candidate: str
    judge: str
    persona_id: str
    task: str
    question_id: str
    score: Score
    expected_score: float | None
    reasoning: str


@dataclass(frozen=True, slots=True)
class OrderedPair:
    """The two answers of a built-in pair in one order; `order` is `better_first` or `worse_first`."""

    pair_id: str
    order: str
    persona: str
    task: str
    question: str
    reply_a: str
    reply_b: str


@dataclass(frozen=True, slots=True)
class Preference:
    """One judge's choice between the answers of a built-in pair.

    `order` says which answer stood first, `preferred` which one it took, whatever its letter.
    """

    judge: str
    pair_id: str
    order: str
    preferred: str
    reasoning: str


@dataclass(frozen=True, slots=True)
class GeneralItem:
    """An instruction without a role: `plain` with the reply to it, or `verifiable` with none."""

    item_id: str
    kind: str
    messages: tuple[Message, ...]


@dataclass(frozen=True, slots=True)
class GeneralResult:
    """What a candidate makes of an instruction without a role.

    To a `verifiable` one there is its answer, and whether it holds to all that is asked for; of a
    `plain` one's reply there is how likely the candidate finds it, in nats over its tokens.
    """

    candidate: str
    item_id: str
    kind: str
    answer: str | None
    followed: bool | None
    log_likelihood: float | None
    tokens: int | None


@dataclass(frozen=True, slots=True)
class Feedback:
    """What a person thinks of a reply in the playground: the last of their votes on it.

    `messages` ends in the reply, which is number `turn` of its conversation, from 0. `session_id` is a
    hash of the conversation's own random id. `vote` is `up`, `down` or `none` (taken back). `time` is UTC.
    `number` rises with each vote that a page takes, whatever its machine's clock does.
    """

    feedback_id: str
    session_id: str
    candidate: str
    character_id: str
    persona: str
    profile: str
    turn: int
    messages: tuple[Message, ...]
    vote: str
    time: str
    number: int


@dataclass(frozen=True, slots=True)
class TokenSampling:
    """How the tokens of a reply are drawn."""

    temperature: float = 1
    top_p: float = 1
    frequency_penalty: float = 0
    max_tokens: int = 2048


@dataclass(frozen=True, slots=True)
class Request:
    """The input of an engine: opening messages, then one user turn after each reply.

    `schema` is a JSON schema that every reply must follow, or None. If `is_parsable` (a function of a
    module) returns False for a reply, if a reply is a refusal, or if free text for `is_parsable` is
    truncated, the request is sent again, `attempts` times in all; then the last reply is kept.
    `logprobs` is how many likely tokens to return for each position, which only endpoints do.
    `temperature` replaces that of `sampling`, which the step sets from the settings of its table.
    With `score_only`, nothing is generated: the messages hold the replies, and the engine returns
    their log-likelihood (only vLLM does). `tokens` are the ids of `messages`, if the engine prepared them.
    """

    messages: tuple[Message, ...]
    follow_ups: tuple[str, ...] = ()
    schema: str | None = None
    is_parsable: Callable[[str], bool] | None = None
    attempts: int = 1
    logprobs: int = 0
    temperature: float | None = None
    score_only: bool = False
    sampling: TokenSampling = TokenSampling()
    tokens: "array[int] | None" = None


@dataclass(frozen=True, slots=True)
class TokenChoice:
    """A token of a reply, and the natural logarithm of the probability of each likely token at its place."""

    token: str
    likely: dict[str, float]


@dataclass(frozen=True, slots=True)
class Completion:
    """What any engine gives back for one request.

    `replies` has one text a turn unless `error` is set or the last one is cut (`truncated`).
    Token counts are summed over the turns and attempts; `cached_tokens` were served from the prefix cache.
    `error` is a reason of a reject (`engine_error`, `engine_died`, `too_long`), `detail` its text.
    `ending` has the last tokens of the last reply if log-probabilities were requested and returned.
    `log_likelihood` (nats, over `output_tokens`) is that of the replies of a `score_only` request.
    """

    replies: tuple[str, ...] = ()
    prompt_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    truncated: bool = False
    error: str = ""
    detail: str = ""
    ending: tuple[TokenChoice, ...] = ()
    log_likelihood: float | None = None


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

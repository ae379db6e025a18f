"""Every record that crosses a boundary, in the order of the data flow: who produces it, and who reads it.

    Persona           synthesis.personas                 -> synthesis.profiles
    Profile           synthesis.profiles, given          -> synthesis.assign_step
    Instruction       synthesis.instructions             -> synthesis.assign_step
    Assignment        synthesis.assign_step              -> synthesis.dialogues
    Dialogue          synthesis.dialogues                -> curation
    DialogueToJudge   curation.judge_work                -> evaluation.dialogue_judge
    JudgedDialogue    evaluation.dialogue_judge          -> curation.verdicts
    Example           curation.write_step                -> training, export
    PersonaSettings   benchmark_generation               -> benchmark_generation (as PersonaTask)
    PersonaQuestions  benchmark_generation               -> benchmark_generation.write_benchmark
    Question          evaluation.questions               -> evaluation.answers (as QuestionWithProfile)
    Answer            evaluation.answers                 -> evaluation.judging (as AnswerWithExamples)
    ScoreExamples     evaluation.score_examples          -> evaluation.judging
    AnswerBlock       evaluation.parity.answer_blocks    -> evaluation.parity.parity_requests
    BlockVerdict      evaluation.parity.parity_requests  -> evaluation.parity.answer_blocks, fork_scores
    Judgment          evaluation.judging                 -> evaluation.compute_scores
    Preference        evaluation.judge_check.pairwise    -> evaluation.judge_check.judge_report
    PreferencePair    preferences.preference_pairs       -> export
    GeneralItem       evaluation.general_ability.items   -> evaluation.general_ability.general_steps
    GeneralResult     evaluation.general_ability.items   -> evaluation.general_ability.general_scores
    Feedback          playground.conversation            -> people

    Request           `render` of a generation step      -> an engine of inference
    Completion        an engine of inference             -> `parse` of a generation step
    Reject            any step                           -> the same table, with `status = rejected`
    Counts            storage.rows                       -> manifests and progress

Ids are hashes of the content: 16 hexadecimal digits of a 64-bit hash, so that a table can be sorted and
partitioned by the same number as an int64 (`int_key`).
"""

import hashlib
from array import array
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Literal, NewType

from pydantic import BaseModel, ConfigDict, Field, create_model


def content_id(*parts: str) -> str:
    """Hash strings to an id of 16 hexadecimal digits."""
    digest = hashlib.blake2b(digest_size=8)
    for part in parts:
        data = part.encode()
        digest.update(len(data).to_bytes(8, "little"))  # ("ab", "c") is not ("a", "bc")
        digest.update(data)
    return digest.hexdigest()


def answer_key(row: Mapping[str, Any]) -> str:
    """Return what an answer and its judgments have in common: the question's id, and the draw from the second on.

    Args:
        row: it has a `question_id`, and a `draw` unless an earlier version wrote it.
    """
    draw = row.get("draw")
    return f"{row['question_id']}-{draw}" if draw else str(row["question_id"])


def question_of(key: str) -> str:
    """Return the id of the question in an `answer_key`."""
    return key.partition("-")[0]


def int_key(content_hash: str) -> int:
    """Return an id as a signed 64-bit integer, for Arrow and NumPy."""
    return int.from_bytes(bytes.fromhex(content_hash), "big", signed=True)


Score = NewType("Score", int)
"""1 to 5; 5 is the best in every task."""


NOT_NEEDED = "not_needed"
"""The reason of rows beyond the number of accepted ones that a run is to give (`accept`)."""


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a chat; `role` is `system`, `user` or `assistant`."""

    role: str
    content: str


@dataclass(frozen=True, slots=True)
class Persona:
    """One sentence about a person, normalized (Unicode NFC, single spaces).

    `facts` has what is fixed and drawn for the profile, and `strata` what the report counts by: values of quotas, drawn
    traits and the language; both are a JSON object of texts. `language` is that of the profile. All three are None
    where the run sets nothing.
    """

    character_id: str
    persona: str
    facts: str | None = None
    language: str | None = None
    strata: str | None = None


def _at_most(characters: int) -> dict[str, Any]:
    """Limit a field in guided decoding only: a valid reply without it may be longer."""
    return {"maxLength": characters}


class ProfileFields(BaseModel):
    """The eight fields that a model writes about a persona; its JSON schema guides decoding.

    The limits matter: without `maxLength` a small model loops inside a string until the token
    limit (31 of 48 profiles valid, compared with 48 of 48). Together they allow about 1.9 kB.
    """

    # Without guided decoding, models write the age as a number.
    model_config = ConfigDict(extra="forbid", frozen=True, coerce_numbers_to_str=True)

    name: str = Field(min_length=1, json_schema_extra=_at_most(60))
    age: str = Field(min_length=1, json_schema_extra=_at_most(30))
    gender: str = Field(min_length=1, json_schema_extra=_at_most(30))
    race: str = Field(min_length=1, json_schema_extra=_at_most(60))
    birth_place: str = Field(min_length=1, json_schema_extra=_at_most(80))
    appearance: str = Field(min_length=1, json_schema_extra=_at_most(400))
    experience: str = Field(min_length=1, json_schema_extra=_at_most(700))
    personality: str = Field(min_length=1, json_schema_extra=_at_most(500))


@cache
def reply_model(output: str, own: tuple[tuple[str, int], ...] = ()) -> type[BaseModel]:
    """Return the model of a reply: a class of this module, with further texts of at most so many characters."""
    base: type[BaseModel] = globals()[output]
    fields: dict[str, Any] = {
        name: (str, Field(min_length=1, json_schema_extra=_at_most(characters))) for name, characters in own
    }
    return create_model(output, __base__=base, __doc__=base.__doc__, **fields) if own else base


class RewrittenReplies(BaseModel):
    """The reply of a model that rewrites a dialogue: one text for each assistant turn."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    replies: list[str]


@dataclass(frozen=True, slots=True)
class Profile:
    """A character: the eight fields and their text, which starts with `Name:`.

    `origin` is `generated`, or `given` for a profile of `profiles.source`; `card` is then the JSON of the character
    card that it came from, if it did. A card may lack some of the fields, which are empty. `strata` are the persona's.
    `flags` names the rules that a profile breaks where `profiles.rules` is `flag`, with commas between.
    """

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
    origin: str = "generated"
    card: str | None = None
    strata: str | None = None
    flags: str | None = None


@dataclass(frozen=True, slots=True)
class Instruction:
    """User turns, each followed by the reference response if the corpus has one.

    `source` is the index of the file in the sorted list of files, `row` the index of the row in that file.
    Assignment samples instructions in this order.
    """

    instruction_id: str
    corpus: str
    messages: tuple[Message, ...]
    source: int
    row: int


@dataclass(frozen=True, slots=True)
class Assignment:
    """One instruction for one character: a dialogue to generate."""

    character_id: str
    instruction_id: str
    corpus: str
    persona: str
    profile: str
    messages: tuple[Message, ...]


@dataclass(frozen=True, slots=True)
class AssignmentDraw(Assignment):
    """An assignment for one of several candidates, numbered from 0."""

    candidate: int = 0


@dataclass(frozen=True, slots=True)
class Dialogue:
    """A system message, then alternating user and assistant turns."""

    dialogue_id: str
    strategy: str
    corpus: str
    instruction_id: str
    character_id: str
    messages: tuple[Message, ...]


@dataclass(frozen=True, slots=True)
class DialogueToJudge:
    """A dialogue for a judge, without its system message; `references` are the replies that were rewritten."""

    dialogue_id: str
    character_id: str
    strategy: str
    corpus: str
    persona: str
    profile: str
    messages: tuple[Message, ...]
    references: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class JudgedDialogue:
    """A judge's scores of a dialogue, 1 to 5; that for voice does not count unless `has_room` for one.

    `attempts` is how often the judge was asked.
    """

    dialogue_id: str
    character_id: str
    strategy: str
    corpus: str
    judge: str
    has_room: bool
    voice_score: Score
    facts_score: Score
    answers_score: Score
    reasoning: str
    attempts: int = 1


@dataclass(frozen=True, slots=True)
class CandidateDialogue:
    """One of several dialogues of an assignment, numbered from 0, of which one is chosen."""

    dialogue_id: str
    strategy: str
    corpus: str
    instruction_id: str
    character_id: str
    messages: tuple[Message, ...]
    candidate: int


@dataclass(frozen=True, slots=True)
class CandidatePair:
    """Two candidates for a dialogue in one order; the replies of a rejected one are None.

    `character` is the system message. Turns and replies are numbered where there are several.
    """

    strategy: str
    corpus: str
    instruction_id: str
    character_id: str
    first_id: str
    second_id: str
    character: str
    user_turns: str
    replies_a: str | None
    replies_b: str | None


@dataclass(frozen=True, slots=True)
class CandidateChoice:
    """A judge's choice between two candidates in one order; `preferred` is the id of one of them."""

    judge: str
    strategy: str
    corpus: str
    instruction_id: str
    character_id: str
    first_id: str
    second_id: str
    preferred: str
    reasoning: str


@dataclass(frozen=True, slots=True)
class PassedOver:
    """A dialogue for which `winner_id`, another one of its assignment, was chosen.

    `wins` and `winner_wins` count the comparisons by `judge` that each won in both orders of the two; `lost_to_winner`
    is whether the winner won the one with this dialogue.
    """

    dialogue_id: str
    winner_id: str
    strategy: str
    corpus: str
    instruction_id: str
    character_id: str
    messages: tuple[Message, ...]
    wins: int
    winner_wins: int
    lost_to_winner: bool
    judge: str


@dataclass(frozen=True, slots=True)
class Example:
    """A dialogue of the curated set; `split` is `train` or `validation`, one per character."""

    dialogue_id: str
    character_id: str
    instruction_id: str
    corpus: str
    strategy: str
    messages: tuple[Message, ...]
    split: str


class ChosenSettings(BaseModel):
    """The reply of a model that selects settings for a persona of a new benchmark."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    settings: list[str]


@dataclass(frozen=True, slots=True)
class PersonaSettings:
    """The places and occasions in which a persona's questions are set."""

    persona_id: str
    persona: str
    settings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PersonaTask:
    """One task for a persona of a new benchmark, with the settings of its questions."""

    persona_id: str
    persona: str
    settings: tuple[str, ...]
    task: str


class TaskQuestions(BaseModel):
    """The reply of a model that writes the questions of one task for a persona."""

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
    """A question of the benchmark to a persona, for one task."""

    question_id: str
    persona_id: str
    persona: str
    task: str
    question: str


@dataclass(frozen=True, slots=True)
class QuestionWithProfile(Question):
    """A question for a candidate; `profile` is None if the candidate gets none, or the persona has none.

    `draw` numbers the answers to one question, from 0.
    """

    profile: str | None = None
    draw: int = 0


@dataclass(frozen=True, slots=True)
class Answer:
    """A candidate's answer to a question in the persona's role; `truncated` if it reached `max_tokens`."""

    candidate: str
    persona_id: str
    persona: str
    task: str
    question_id: str
    question: str
    answer: str
    truncated: bool
    draw: int = 0


@dataclass(frozen=True, slots=True)
class AnswerWithExamples(Answer):
    """An answer for a judge; `examples` is None if the question has no score examples."""

    examples: tuple[str, ...] | None = None


class ScoreExamplesReply(BaseModel):
    """The reply of a model that writes an example answer for each score of a rubric."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    score_1: str = Field(min_length=1, json_schema_extra=_at_most(800))
    score_2: str = Field(min_length=1, json_schema_extra=_at_most(800))
    score_3: str = Field(min_length=1, json_schema_extra=_at_most(800))
    score_4: str = Field(min_length=1, json_schema_extra=_at_most(800))
    score_5: str = Field(min_length=1, json_schema_extra=_at_most(800))


@dataclass(frozen=True, slots=True)
class ScoreExamples:
    """Example answers to one question, for the scores 1 to 5 in this order."""

    question_id: str
    persona_id: str
    task: str
    examples: tuple[str, ...]


MAX_REASONING_CHARACTERS = 100_000
"""With a limit, pydantic also rejects lone surrogates, which no table can hold."""


class Verdict(BaseModel):
    """A judge's reply: the reasoning comes before the score, or it would be written to justify it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    reasoning: str = Field(max_length=MAX_REASONING_CHARACTERS, json_schema_extra=_at_most(1200))
    score: Literal[1, 2, 3, 4, 5]


class DialogueVerdict(BaseModel):
    """A judge's reply to a dialogue of the training set."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    reasoning: str = Field(max_length=MAX_REASONING_CHARACTERS, json_schema_extra=_at_most(1200))
    has_room: bool
    voice: Literal[1, 2, 3, 4, 5]
    facts: Literal[1, 2, 3, 4, 5]
    answers: Literal[1, 2, 3, 4, 5]


class PairVerdict(BaseModel):
    """A judge's reply to a pair of answers."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    reasoning: str = Field(max_length=MAX_REASONING_CHARACTERS, json_schema_extra=_at_most(1200))
    preferred: Literal["A", "B"]


@dataclass(frozen=True, slots=True)
class Judgment:
    """One judge's score of one answer.

    `expected_score` is the mean of the scores weighted by the judge's probabilities, None without them. After the first
    of its `attempts`, a judge's temperature is at least 0.5, so a score that took more than one is a draw.
    """

    candidate: str
    judge: str
    persona_id: str
    task: str
    question_id: str
    score: Score
    expected_score: float | None
    reasoning: str
    attempts: int = 1
    draw: int = 0


@dataclass(frozen=True, slots=True)
class AnswerBlock:
    """Answers of one candidate that the paper's runner judges in one call, with `Error` for those that failed.

    `questions`, `answers` and `examples`, the text of a question's example replies, have the order of `question_ids`.
    """

    block_id: str
    candidate: str
    persona_id: str
    persona: str
    task: str
    question_ids: tuple[str, ...]
    questions: tuple[str, ...]
    answers: tuple[str, ...]
    examples: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class BlockVerdict:
    """A judge's reply to a block of answers.

    `counted` has the score of each evaluation in it as the paper's runner counts it, 0 where it finds none. `cut` if
    the reply reached `max_tokens`.
    """

    candidate: str
    judge: str
    persona_id: str
    task: str
    block_id: str
    counted: tuple[int, ...]
    reply: str
    cut: bool


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

    `order` is the answer that came first, `preferred` the chosen one, whatever its letter.
    """

    judge: str
    pair_id: str
    order: str
    preferred: str
    reasoning: str


@dataclass(frozen=True, slots=True)
class PreferencePair:
    """Two replies to the prompt `messages`, of which `chosen` was preferred; `pair_id` is a hash of these texts.

    `source` is `votes`, `passed_over` or `judged`. `margin` is above 0: points of the mean score, the difference of
    mean votes (at most 2), or wins. `chosen_id` is a reply's id in the table that it comes from, `chosen_by` the
    candidate or model that wrote it. `judges` are those that compared the two, none for votes.
    """

    pair_id: str
    source: str
    character_id: str
    messages: tuple[Message, ...]
    chosen: str
    rejected: str
    margin: float
    chosen_id: str
    rejected_id: str
    chosen_by: str
    rejected_by: str
    judges: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class GeneralItem:
    """An instruction without a persona: of kind `plain` with its reply, or `verifiable` without one."""

    item_id: str
    kind: str
    messages: tuple[Message, ...]


@dataclass(frozen=True, slots=True)
class GeneralResult:
    """A candidate's result on an instruction without a persona.

    For a `verifiable` one: the answer, and whether it follows all parts of the instruction. For a `plain` one:
    the log-likelihood of its reply in nats, over `tokens` tokens.
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
    """A person's last vote on a reply in the playground.

    `messages` ends with the reply, which is turn `turn` of its conversation, from 0. `session_id` is a hash of
    the conversation's own random id. `vote` is `up`, `down` or `none` (withdrawn). `time` is UTC. `number`
    increases with each vote that a page receives, independent of the clock of its machine.
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
class LabelItem:
    """What a person labels: an answer, or the answers of two candidates, with how it was drawn.

    `item_id` and the page do not show the candidates. `kind` is `single`, `pair` or `gold`, an answer of known quality
    whose `candidates` is `better` or `worse`. Of the `stratum_rows` of a stratum, `stratum_drawn` were drawn with equal
    chances, so `probability` is their ratio. `frame` is a hash of the tables that it was drawn from.
    """

    item_id: str
    kind: str
    candidates: tuple[str, ...]
    persona_id: str
    persona: str
    task: str
    question_id: str
    question: str
    answers: tuple[str, ...]
    answer_ids: tuple[str, ...]
    criteria: str
    rubric: str
    stratum: str
    stratum_rows: int
    stratum_drawn: int
    probability: float | None
    frame: str
    seed: int
    draw: int = 0


@dataclass(frozen=True, slots=True)
class Label:
    """A person's last label of an item.

    `answer_ids` are hashes of the answers, in the order of the item, and so are `scores`: 1 to 5, or 0 where the person
    could not judge for the `comment`. `shown_order` has their numbers as they were shown. `verdict` on a pair is `a`,
    `b` or `same`, by the order of the item. `repetition` is 1 where an item was shown again. `shown` and `answered` are
    UTC; `changes` counts choices that were changed. `number` increases with each label that the page receives.
    """

    label_id: str
    item_id: str
    kind: str
    persona_id: str
    task: str
    question_id: str
    answer_ids: tuple[str, ...]
    shown_order: tuple[int, ...]
    rubric: str
    examples_shown: bool
    scores: tuple[int, ...]
    verdict: str
    comment: str
    repetition: int
    rater: str
    proficiency: str
    consent: bool
    page_version: str
    shown: str
    answered: str
    seconds: float | None
    changes: int
    number: int


@dataclass(frozen=True, slots=True)
class TokenSampling:
    """Sampling parameters of a reply; None leaves one to an endpoint."""

    temperature: float | None = 1
    top_p: float | None = 1
    frequency_penalty: float | None = 0
    max_tokens: int = 2048


@dataclass(frozen=True, slots=True)
class Request:
    """The input of an engine: opening messages, then one user turn after each reply.

    `schema` is a JSON schema that every reply must follow, or None. If `is_parsable` (a function of a
    module) returns False for a reply, if a reply is a refusal, or if free text for `is_parsable` is
    truncated, the request is sent again, `attempts` times in all; then the last reply is kept.
    `logprobs` is how many likely tokens to return for each position, which only endpoints do.
    `draw` numbers the draws of one request, for scripted replies.
    `temperature` replaces that of `sampling`, which the step sets from the settings of its table, unless that is None.
    With `score_only`, nothing is generated: the messages hold the replies, and the engine returns
    their log-likelihood (only vLLM does). `tokens` are the ids of `messages`, if the engine prepared them.
    """

    messages: tuple[Message, ...]
    follow_ups: tuple[str, ...] = ()
    schema: str | None = None
    is_parsable: Callable[[str], bool] | None = None
    attempts: int = 1
    logprobs: int = 0
    draw: int = 0
    temperature: float | None = None
    score_only: bool = False
    sampling: TokenSampling = TokenSampling()
    tokens: "array[int] | None" = None


@dataclass(frozen=True, slots=True)
class TokenChoice:
    """A token of a reply, with the log-probability (natural) of each likely token at its position."""

    token: str
    likely: dict[str, float]


@dataclass(frozen=True, slots=True)
class Completion:
    """The result of one request, from any engine.

    `replies` has one text per turn, unless `error` is set or the last one is `truncated`. Token counts are sums
    over turns and attempts; `cached_tokens` were served from the prefix cache. `error` is the reason of a reject
    (`engine_error`, `engine_died`, `too_long`), `detail` its text. `ending` has the last tokens of the last reply
    if log-probabilities were requested and returned. `log_likelihood` (nats, over `output_tokens`) is that of the
    replies of a `score_only` request. `thoughts` has one text per turn, empty where the model did not think or does
    not show it; they are never part of a reply or of a later turn. `thought_tokens` are a part of `output_tokens`.
    `attempts` is how often a reply was asked for, over all turns.
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
    thoughts: tuple[str, ...] = ()
    thought_tokens: int = 0
    attempts: int = 1


@dataclass(frozen=True, slots=True)
class Reject:
    """Why a step rejected a row; `detail` holds the raw input or reply."""

    reason: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Counts:
    """Row and token counts of a table or part of it; `ok` and `rejected` add up to its rows.

    `thought_tokens` are a part of `output_tokens`.
    """

    ok: int = 0
    rejected: dict[str, int] = field(default_factory=dict)
    prompt_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    thought_tokens: int = 0

    @property
    def rows(self) -> int:
        """The number of accepted and rejected rows."""
        return self.ok + sum(self.rejected.values())

    def __add__(self, other: "Counts") -> "Counts":
        reasons = sorted(self.rejected.keys() | other.rejected.keys())
        return Counts(
            ok=self.ok + other.ok,
            rejected={r: self.rejected.get(r, 0) + other.rejected.get(r, 0) for r in reasons},
            prompt_tokens=self.prompt_tokens + other.prompt_tokens,
            output_tokens=self.output_tokens + other.output_tokens,
            cached_tokens=self.cached_tokens + other.cached_tokens,
            thought_tokens=self.thought_tokens + other.thought_tokens,
        )

"""The shape of `scores.json`: what an evaluation found out, for people and for programs.

`Scores.model_json_schema()` describes it. Its parts read the dataclasses of `statistics` as
they are; a number that cannot be had is NaN there and null here.
"""

import math
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

MEAN = "all"
"""In place of a judge's name: the mean over the judges."""


def _null_for_nan(value: Any) -> Any:
    return None if isinstance(value, float) and math.isnan(value) else value


Number = Annotated[float | None, BeforeValidator(_null_for_nan)]


class _Part(BaseModel):
    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, from_attributes=True, use_attribute_docstrings=True
    )


class TaskScore(_Part):
    """One score over personas: a `statistics.Summary`."""

    mean: Number
    """Mean over the personas; null where none has this score."""
    std: Number
    """Population standard deviation over the personas."""
    low: Number
    """Lower end of the 95 % bootstrap interval of the mean, over personas; null for one persona."""
    high: Number
    """Upper end of it."""
    personas: int
    """Personas that have this score."""


class LengthCorrelation(_Part):
    """A `statistics.Correlation` of the answers' words and their scores."""

    rho: float
    """Spearman's rank correlation; above 0 longer answers score higher."""
    p: float
    """Its two-sided p-value."""


class JudgeScores(_Part):
    """What one judge, or the mean of all, makes of a candidate's answers."""

    judged: int
    """Answers with a score. In the mean over judges: answers that at least one of them scored."""
    failed: int
    """Answers without one, after all attempts (`judge_failed`). In the mean: answers that no judge scored."""
    failure_share: float
    """`failed` of `judged` and `failed` together; 0 where both are 0."""
    unscored_share: float
    """Questions without a score, of all that were asked: `failed`, and answers that were rejected before."""
    marked: bool
    """Whether `unscored_share` is more than `evaluation.max_judge_failures`. In the mean: whether any judge's is."""
    tasks: dict[str, TaskScore]
    """The score in each of the document's tasks."""
    pscore: TaskScore
    """The mean of a persona's task scores, over the personas that have all of them."""
    expected: dict[str, TaskScore] | None = None
    """The tasks by expected scores, weighted by the probability of each score; null where there are none."""
    expected_pscore: TaskScore | None = None
    """Likewise the PScore."""
    length_correlation: LengthCorrelation | None = None
    """Of an answer's words and its score; null with fewer than three, or where one of the two never varies."""


class General(_Part):
    """What a candidate makes of plain instructions, without a role."""

    followed: Number
    """Share of verifiable instructions whose reply holds to all that was asked for."""
    low: Number
    """Lower end of its 95 % Wilson interval."""
    high: Number
    """Upper end of it."""
    of: int
    """Verifiable instructions with a reply."""
    perplexity: Number
    """A token of the held-out replies to plain instructions; null where the engine tells no likelihoods."""
    items: int
    """Replies whose likelihood was told."""


class CandidateScores(_Part):
    """A candidate, its answers and their scores."""

    name: str
    """As the config names it."""
    model: str
    """The model as the config names it."""
    revision: str | None
    """What stands behind that name; null where it cannot be told."""
    condition: Literal["persona", "profile"]
    """What it was told of its role."""
    questions: int
    """Questions it was asked."""
    answered: int
    """Questions it answered; only these are judged."""
    answers_rejected: dict[str, int]
    """The others, by reason."""
    answers_truncated: int
    """Answers that were cut at `max_tokens`, and judged as they stand."""
    answer_words_mean: Number
    """Words of an answer, on average; null without answers."""
    scores: JudgeScores
    """By the mean of the judges. Where a judge failed, the others count by how far they are above or below
    what they give in this task on average, for judges differ in height."""
    by_judge: dict[str, JudgeScores]
    """By each judge alone, all of the document's judges."""
    general: General | None = None
    """Its general ability; null where `evaluation.general` is off."""


class Judge(_Part):
    """Who scored."""

    name: str
    """As the config names it."""
    model: str
    """The model as the config names it."""
    kind: str
    """`fleet`, `openai` or `scripted`."""
    family: str | None
    """The model's family; null where its name and files do not tell."""


class Benchmark(_Part):
    """The personas and their questions."""

    place: str
    """Its folder."""
    name: str
    """Its name, such as `PersonaGym` or `builtin-v1`."""
    digest: str
    """A hash of its personas and questions."""
    personas: int
    """Personas that were asked about."""
    questions: int
    """Questions of all of them together."""
    examples: int
    """Questions with example replies of each score; of the others judges were shown none."""


class Difference(_Part):
    """A `statistics.Comparison` in one task or in the PScore."""

    task: str
    """A task, or `PScore`."""
    difference: Number
    """a's score less b's, on average over the personas that both have a score for. A judge's score of a
    question counts where it scored the answers of both."""
    low: Number
    """Lower end of its 95 % bootstrap interval, over personas."""
    high: Number
    """Upper end of it."""
    effect: Number
    """Cohen's d_z: the mean of the differences over their sample standard deviation."""
    p: Number
    """Of a two-sided sign-flip permutation test, paired by persona."""
    p_holm: Number
    """`p` adjusted for the number of tasks; null for the PScore, which is tested by itself."""
    personas: int
    """Personas that both have a score for."""
    significant: bool
    """Whether `p_holm`, or else `p`, is below 0.05."""


class CandidateComparison(_Part):
    """Two candidates, persona by persona."""

    a: str
    """A candidate's name."""
    b: str
    """The one it is held against."""
    judge: str
    """A judge's name, or `all`: the mean over the judges."""
    results: list[Difference]
    """For each task, and last the PScore."""


class GeneralChange(_Part):
    """The general ability of two candidates, instruction by instruction."""

    a: str
    """A candidate's name."""
    b: str
    """The one it is held against."""
    followed: Number
    """a's share of followed instructions less b's, over those that both replied to."""
    gained: int
    """Instructions that a follows and b does not."""
    lost: int
    """Instructions that b follows and a does not."""
    p: Number
    """McNemar's exact two-sided p of the two."""
    of: int
    """Instructions that both replied to."""
    perplexity_a: Number
    """Of a, over the held-out replies that both were told the likelihood of."""
    perplexity_b: Number
    """Of b, over the same."""
    log_loss: Number
    """a's loss a token (nats) less b's, over these; null too where the two cut them into other tokens."""
    log_loss_low: Number
    """Lower end of its 95 % bootstrap interval, over replies."""
    log_loss_high: Number
    """Upper end of it."""
    items: int
    """Held-out replies that both were told the likelihood of."""
    significant_loss: bool
    """Whether a follows fewer with `p` below 0.05, or the whole interval of `log_loss` is above 0."""


class Scores(_Part):
    """All that an evaluation found out."""

    version: Literal[2] = 2
    """Of this shape."""
    protocol: Literal["light", "full"]
    """PersonaGym-Light asks the first question of each task."""
    parity: Literal["opencharacter"] | None
    """Whether judges were asked as the paper asked its own."""
    benchmark: Benchmark
    """What was asked."""
    tasks: list[str]
    """The tasks, by PersonaGym's keys, in the order of the paper's tables."""
    candidates: list[CandidateScores]
    """Who was scored."""
    judges: list[Judge]
    """Who scored."""
    agreement: dict[str, Number]
    """Krippendorff's ordinal alpha of the judges by task, and over `all`; null where it is not defined."""
    comparisons: list[CandidateComparison]
    """Each pair of candidates, by each judge and by the mean."""
    general_changes: list[GeneralChange] = Field(default_factory=list)
    """Each pair of candidates, as in `comparisons`; none where `evaluation.general` is off."""
    warnings: list[str] = Field(default_factory=list)
    """What a reader must know of these scores, such as judges that are related to a candidate."""
    published: bool
    """Whether the paper's rows stand beside these scores: only where the benchmark is PersonaGym."""

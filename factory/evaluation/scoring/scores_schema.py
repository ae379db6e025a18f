"""The schema of `scores.json`: the results of an evaluation, for people and for programs.

`Scores.model_json_schema()` describes it. Its parts read the dataclasses of `statistics` directly; an undefined
number is NaN there and null here.
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
    """One score over personas: a `statistics.ScoreSummary`."""

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
    """A `statistics.RankCorrelation` of the answers' words and their scores."""

    rho: float
    """Spearman's rank correlation; above 0, longer answers score higher."""
    p: float
    """Its two-sided p-value."""


class JudgeScores(_Part):
    """A candidate's scores by one judge, or by the mean of all."""

    judged: int
    """Answers with a score. In the mean over judges: answers that at least one of them scored."""
    failed: int
    """Answers without a score after all attempts (`judge_failed`). In the mean: answers that no judge scored."""
    failure_share: float
    """`failed` of `judged` and `failed` together; 0 where both are 0."""
    unscored_share: float
    """Questions without a score, of all questions: `failed`, and answers that were rejected before judging."""
    marked: bool
    """Whether `unscored_share` is more than `evaluation.max_judge_failures`. In the mean: whether any judge's is."""
    tasks: dict[str, TaskScore]
    """The score in each of the document's tasks."""
    pscore: TaskScore
    """The mean of a persona's task scores, over the personas that have all of them."""
    expected: dict[str, TaskScore] | None = None
    """The tasks by expected scores, weighted by the probability of each score; null where there are none."""
    expected_pscore: TaskScore | None = None
    """The PScore by expected scores."""
    length_correlation: LengthCorrelation | None = None
    """Of an answer's words and its score; null with fewer than three, or where one of the two is constant."""


class GeneralAbility(_Part):
    """A candidate's results on plain instructions, without a role."""

    followed: Number
    """Share of verifiable instructions that the reply follows in all points."""
    low: Number
    """Lower end of its 95 % Wilson interval."""
    high: Number
    """Upper end of it."""
    of: int
    """Verifiable instructions with a reply."""
    perplexity: Number
    """Per token of the held-out replies to plain instructions; null where the engine returns no likelihoods."""
    items: int
    """Replies with a likelihood."""


class CandidateScores(_Part):
    """A candidate, its answers and their scores."""

    name: str
    """As in the config."""
    model: str
    """The model as in the config."""
    revision: str | None
    """The exact version of the model; null where it is unknown."""
    condition: Literal["persona", "profile"]
    """Which description of its role it gets."""
    questions: int
    """Questions it was given."""
    answered: int
    """Questions it answered; only these are judged."""
    answers_rejected: dict[str, int]
    """The others, by reason."""
    answers_truncated: int
    """Answers that were cut at `max_tokens`, and judged as they are."""
    answer_words_mean: Number
    """Mean number of words per answer; null without answers."""
    scores: JudgeScores
    """By the mean of the judges. Judge means are centered per task before averaging, so that missing scores do not
    bias the mean: judges differ in leniency."""
    by_judge: dict[str, JudgeScores]
    """By each judge alone, for all of the document's judges."""
    general: GeneralAbility | None = None
    """Its general ability; null where `evaluation.general` is off."""


class ScoringJudge(_Part):
    """A judge of these scores."""

    name: str
    """As in the config."""
    model: str
    """The model as in the config."""
    kind: str
    """`served`, `openai` or `scripted`."""
    family: str | None
    """The model's family; null where its name and files do not show it."""


class ScoredBenchmark(_Part):
    """The personas and their questions."""

    folder: str
    """Its folder."""
    name: str
    """Its name, such as `PersonaGym` or `builtin-v1`."""
    digest: str
    """A hash of its personas, questions and rubrics."""
    personas: int
    """Number of personas used."""
    questions: int
    """Number of questions over all personas."""
    examples: int
    """Questions with example replies for each score; for the others judges got none."""
    frozen: str | None = None
    """A hash of the questions, rubrics and example replies of a frozen benchmark: runs that have it in common were
    asked the same. Null where the run's own judges wrote the example replies."""


class ForkScore(_Part):
    """A score over personas, as the paper prints it."""

    mean: Number
    """Mean over the personas."""
    std: Number
    """Population standard deviation over them."""


class ForkCount(_Part):
    """Scores as the paper's runner counts them: zeros of failed calls included, and any whole number as a score."""

    scores: dict[str, ForkScore]
    """By task, and the `PScore`."""
    personas: int
    """Personas, all of them: a failed call is a score."""
    calls: int
    """Calls of the judge."""
    zeros: int
    """Calls that count as 0: failed, refused, or without a score that the runner finds."""


class ScoreDifference(_Part):
    """A `statistics.PairedComparison` in one task or in the PScore."""

    task: str
    """A task, or `PScore`."""
    difference: Number
    """a's score minus b's, on average over the personas with a score for both. A judge's score of a question counts
    where it scored the answers of both."""
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
    """Personas with a score for both."""
    significant: bool
    """Whether `p_holm`, or else `p`, is below 0.05."""


class CandidateComparison(_Part):
    """Two candidates, persona by persona."""

    a: str
    """A candidate's name."""
    b: str
    """The candidate it is compared with."""
    judge: str
    """A judge's name, or `all`: the mean over the judges."""
    results: list[ScoreDifference]
    """For each task, and last the PScore."""


class GeneralChange(_Part):
    """The general ability of two candidates, instruction by instruction."""

    a: str
    """A candidate's name."""
    b: str
    """The candidate it is compared with."""
    followed: Number
    """a's share of followed instructions minus b's, over those that both replied to."""
    gained: int
    """Instructions that a follows and b does not."""
    lost: int
    """Instructions that b follows and a does not."""
    p: Number
    """McNemar's exact two-sided p of the two."""
    of: int
    """Instructions that both replied to."""
    perplexity_a: Number
    """Of a, over the held-out replies with a likelihood from both."""
    perplexity_b: Number
    """Of b, over the same."""
    log_loss: Number
    """a's loss per token (nats) minus b's, over these; null too where their tokenizers split them differently."""
    log_loss_low: Number
    """Lower end of its 95 % bootstrap interval, over replies."""
    log_loss_high: Number
    """Upper end of it."""
    items: int
    """Held-out replies with a likelihood from both."""
    significant_loss: bool
    """Whether a follows fewer with `p` below 0.05, or the whole interval of `log_loss` is above 0."""


class Scores(_Part):
    """All results of an evaluation."""

    version: Literal[3] = 3
    """Of this schema."""
    protocol: Literal["light", "full"]
    """PersonaGym-Light uses the first question of each task."""
    judge_protocol: Literal["structured", "opencharacter"]
    """How judges are asked: for a JSON object, or as in the paper (`evaluation.parity`), in free text."""
    benchmark: ScoredBenchmark
    """The benchmark that was used."""
    tasks: list[str]
    """The tasks, by PersonaGym's keys, in the order of the paper's tables."""
    candidates: list[CandidateScores]
    """The scored models."""
    judges: list[ScoringJudge]
    """The judges that scored them."""
    agreement: dict[str, Number]
    """Krippendorff's ordinal alpha of the judges by task, and over `all`; null where it is undefined."""
    comparisons: list[CandidateComparison]
    """Each pair of candidates, by each judge and by the mean."""
    general_changes: list[GeneralChange] = Field(default_factory=list)
    """Each pair of candidates, as in `comparisons`; none where `evaluation.general` is off."""
    warnings: list[str] = Field(default_factory=list)
    """Cautions about these scores, such as judges that share a family with a candidate."""
    costs: dict[str, Number] = Field(default_factory=dict)
    """US dollars for the tokens of candidates and judges behind endpoints, such as `judgments of gpt`; null where a
    price is not known."""
    fork_counts: dict[str, dict[str, ForkCount]] = Field(default_factory=dict)
    """With `evaluation.parity`: each candidate's scores by each judge as the paper's runner counts the same replies."""
    published: bool
    """Whether the paper's rows are shown beside these scores: only where benchmark, protocol and judge are the
    paper's."""
    unpublished_because: str = ""
    """Why they are not."""

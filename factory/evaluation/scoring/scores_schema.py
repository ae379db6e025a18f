"""The schema of `scores.json`: the results of an evaluation, for people and for programs.

`Scores.model_json_schema()` describes it. Its parts read the dataclasses of the statistics directly; an undefined
number is NaN there and null here.
"""

import math
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

Verdict = Literal["higher", "lower", "no_difference_shown", "too_few", "depends_on_unscored", "blank"]
GeneralVerdict = Literal["kept", "lost", "lower", "unknown"]
RankedBy = Literal["expected", "whole"]
MEAN = "all"
"""In place of a judge's name: the mean over the judges."""


def _null_for_nan(value: Any) -> Any:
    return None if isinstance(value, float) and math.isnan(value) else value


Number = Annotated[float | None, BeforeValidator(_null_for_nan)]


class _Part(BaseModel):
    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, from_attributes=True, use_attribute_docstrings=True
    )


class AnswerShare(_Part):
    """A `intervals.Share`: a count, and the 95 % Clopper-Pearson interval of its share."""

    count: int
    """How many."""
    of: int
    """Of how many."""
    low: Number
    """Lower end of the interval of the share; null of nothing."""
    high: Number
    """Upper end of it."""


class TaskScore(_Part):
    """One score over personas: an `intervals.ScoreSummary`."""

    mean: Number
    """Mean over the personas; of a PScore the mean of the task means. Null where there is none."""
    std: Number
    """Population standard deviation over the personas; of a PScore over those with all tasks."""
    low: Number
    """Lower end of the 95 % interval of the mean, over personas; null for one persona. For a task t or, near an end of
    the scale, Gaffke's; for a PScore bootstrap-t, and t below 10 personas."""
    high: Number
    """Upper end of it."""
    personas: int
    """Personas that have this score; for a PScore in any task."""
    too_few: bool
    """Fewer than 10 personas, or an interval wider than 1: too few to say much."""
    bound_low: Number = None
    """The mean if all unscored answers had 1."""
    bound_high: Number = None
    """The mean if all unscored answers had 5."""
    below_top: AnswerShare | None = None
    """Personas with an answer below 5, of those with this score; null for a PScore."""


class LengthCorrelation(_Part):
    """A `length.RankCorrelation` of the answers' words and their scores, within tasks and personas."""

    rho: float
    """Rank correlation; above 0, longer answers score higher."""
    p: float
    """Its two-sided p-value, over personas."""


class JudgeScores(_Part):
    """A candidate's scores by one judge, or by the mean of all."""

    judged: int
    """Answers with a score. In the mean over judges: answers that at least one of them scored."""
    failed: int
    """Answers without a score after all attempts (`judge_failed`). In the mean: answers that no judge scored."""
    failure_share: float
    """`failed` of `judged` and `failed` together; 0 where both are 0."""
    unscored_share: float
    """Questions without a score, of all questions: `failed`, and answers that were rejected before judging. In the
    mean: over all judges that gave any score."""
    marked: bool
    """Whether `unscored_share` is more than `evaluation.max_judge_failures`."""
    blank: bool
    """Whether `unscored_share` is more than `evaluation.max_unscored`: the scores are shown nowhere, and in the mean
    over judges have no rank and no comparison."""
    tasks: dict[str, TaskScore]
    """The score in each of the document's tasks."""
    pscore: TaskScore
    """The mean of the task means. Personas that lack a task count in the others."""
    complete: int
    """Personas with a score in all tasks."""
    expected: dict[str, TaskScore] | None = None
    """The tasks by expected scores, weighted by the probability of each score; null where there are none."""
    expected_pscore: TaskScore | None = None
    """The PScore by expected scores."""
    length_correlation: LengthCorrelation | None = None
    """Of an answer's words and its score; null with fewer than three personas, or where one of the two is constant."""


class CandidateRank(_Part):
    """A `comparisons.Rank`."""

    rank: int
    """By PScore, of the scores in `ranked_by`; 1 is the highest, equal ones share a rank."""
    low: int
    """1 + the number of candidates shown to be higher."""
    high: int
    """The number of ranked candidates minus those shown to be lower. All these intervals hold together in 95 %."""


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
    """Answers it was asked for: the questions, each `draws` times."""
    answered: int
    """Answers it gave; only these are judged."""
    answers_rejected: dict[str, int]
    """The others, by reason."""
    answers_truncated: int
    """Answers that were cut at `max_tokens`, and judged as they are."""
    answer_words_mean: Number
    """Mean number of words per answer; null without answers."""
    scores: JudgeScores
    """By the mean of the judges. A missing score is filled by the additive model of answers and judges per task, so
    that random failures do not bias the mean: judges differ in leniency."""
    rank: CandidateRank | None = None
    """Its rank; null where its scores are blank, or there is no PScore."""
    by_judge: dict[str, JudgeScores]
    """By each judge alone, for all of the document's judges."""
    general: GeneralAbility | None = None
    """Its general ability; null where `evaluation.general` is off."""


class JudgeCheck(_Part):
    """What the judge check found about a judge, by the kind of score that ranks the candidates."""

    right: Number
    """Share of the pairs with a better answer that its scores order right; equal scores count half."""
    low: Number
    """Lower end of its 95 % Wilson interval."""
    high: Number
    """Upper end of it."""
    of: int
    """Number of these pairs."""
    by_kind: dict[str, Number]
    """The share by kind of pair; in `adjacent` pairs a 5 stands against a 4."""
    filler: Number
    """How much filler raises a score, on average."""
    attack: Number
    """How much words to the judge that ask for a 5 raise it."""
    paraphrase: Number
    """How much other words for the same change it, up or down."""


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
    re_asked: int = 0
    """Scores that took more than one attempt, and so are draws at a temperature of at least 0.5."""
    check: JudgeCheck | None = None
    """Null where the judge was not checked (`judge-check`) with the settings of these scores."""


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


class JudgeAgreement(_Part):
    """Agreement of the judges in a task: an `agreement.Agreement`."""

    alpha: Number
    """Krippendorff's ordinal alpha: 1 is perfect, 0 is chance; null with fewer than 20 scores off the most frequent."""
    alpha_low: Number
    """Lower end of its 95 % interval, over personas."""
    alpha_high: Number
    """Upper end of it."""
    same_order: Number
    """Of the pairs of candidates on one question that two judges both tell apart, the share ordered alike by both."""
    same_order_low: Number
    """Lower end of its 95 % interval, over personas."""
    same_order_high: Number
    """Upper end of it."""
    pairs: int
    """Number of these pairs."""


class ScoreDifference(_Part):
    """A `comparisons.PairedDifference` in one task or in the PScore."""

    task: str
    """A task, or `PScore`."""
    difference: Number
    """a's score minus b's, over the questions with a score for both."""
    low: Number
    """Lower end of its 95 % interval, over personas: t, and Gaffke's where fewer than five personas differ."""
    high: Number
    """Upper end of it."""
    effect: Number
    """Cohen's d_z: the mean of the differences over their sample standard deviation."""
    p: Number
    """Of a two-sided sign-flip test, paired by persona, adjusted for its family by step-down max-T."""
    personas: int
    """Personas with a score for both."""
    verdict: Verdict
    """`higher` or `lower` where p is below 0.05, at least 10 personas have both scores and 6 differ (else `too_few`),
    and the sign is the same for any scores of the unscored answers (else `depends_on_unscored`). `blank` where a
    candidate has too many unscored answers."""


class DifferenceByJudge(_Part):
    """A difference in the PScore by one judge, which is not tested."""

    difference: Number
    """a's PScore minus b's."""
    low: Number
    """Lower end of its 95 % interval."""
    high: Number
    """Upper end of it."""


class LengthControlledDifference(_Part):
    """A `length.LengthControlled`: the difference in the PScore at equal length, which is not tested."""

    difference: float
    """a's PScore minus b's, if their answers had the same number of words."""
    low: float
    """Lower end of its 95 % interval."""
    high: float
    """Upper end of it."""
    slope: float
    """How much the score changes where an answer gets e times as long."""


class CandidateComparison(_Part):
    """Two candidates by the mean of the judges, persona by persona."""

    a: str
    """A candidate's name."""
    b: str
    """The candidate it is compared with: the baseline where one is named."""
    results: list[ScoreDifference]
    """For each task, and last the PScore."""
    by_judge: dict[str, DifferenceByJudge]
    """The PScore by each judge alone."""
    same_direction: int
    """Judges whose difference has the sign of the mean's."""
    length_controlled: LengthControlledDifference | None
    """The PScore at equal length; null where lengths do not differ."""


class Families(_Part):
    """Which hypotheses are tested together; within each family any false claim has a probability of 5 %."""

    pscore: int
    """PScores: every candidate against the baseline, or all pairs where none is named."""
    tasks: int
    """The tasks of the same pairs."""
    ranks: int
    """PScores of all pairs, for the intervals of the ranks."""


class FindableDifference(_Part):
    """The smallest true difference in the PScore that is found in 80 % of all cases."""

    difference: Number
    """By this evaluation, with as many comparisons as its family has."""
    personas: Number
    """With twice the personas."""
    questions: Number
    """With twice the questions per task."""
    questions_measured: bool
    """False where there is one question per task: `questions` is then the least that it can be."""
    draws: Number
    """With twice the answers per question."""
    draws_measured: bool = False
    """False where there is one answer per question: `draws` is then the least that it can be."""
    judges: Number
    """With twice the judges; null for one judge."""


class StratumScores(_Part):
    """The PScores over the personas of one stratum, which are shown and not tested."""

    trait: str
    """What the personas are told apart by, such as `disposition`."""
    value: str
    """Its value in these personas, such as `immoral`."""
    personas: int
    """Personas of the benchmark with this value."""
    pscores: dict[str, TaskScore]
    """By candidate, those without a blank score; of the scores in `ranked_by`, by the mean of the judges."""


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
    followed_low: Number
    """Lower end of its 90 % interval, with half an instruction added to each of gained and lost."""
    followed_high: Number
    """Upper end of it."""
    margin: float
    """`evaluation.general_margin`: a loss of less counts as kept."""
    verdict: GeneralVerdict | None
    """`kept`: the interval is above minus the margin, and not all below 0. `lost`: it is below minus the margin.
    `lower`: below 0, by less than the margin. `unknown`: it cannot be told. Null without common instructions."""
    needed: int | None
    """Where it cannot be told: instructions that would show in 80 % of all cases that nothing was lost."""
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
    """Lower end of its 95 % interval, over replies."""
    log_loss_high: Number
    """Upper end of it."""
    items: int
    """Held-out replies with a likelihood from both."""


class Scores(_Part):
    """All results of an evaluation."""

    version: Literal[4] = 4
    """Of this schema."""
    protocol: Literal["light", "full"]
    """PersonaGym-Light uses the first question of each task."""
    judge_protocol: Literal["structured", "opencharacter"]
    """How judges are asked: for a JSON object, or as in the paper (`evaluation.parity`), in free text."""
    benchmark: ScoredBenchmark
    """The benchmark that was used."""
    draws: int = 1
    """`evaluation.draws`: answers of each candidate to each question."""
    tasks: list[str]
    """The tasks, by PersonaGym's keys, in the order of the paper's tables."""
    candidates: list[CandidateScores]
    """The scored models."""
    judges: list[ScoringJudge]
    """The judges that scored them."""
    ranked_by: RankedBy
    """The scores behind ranks, comparisons and `findable`: expected ones where all judges gave them."""
    baseline: str | None
    """`evaluation.baseline`."""
    agreement: dict[str, JudgeAgreement]
    """By task; empty for one judge."""
    mean_alpha: Number
    """The mean of the tasks' alphas; null where one is undefined. Pooled over tasks, judges without any link agree."""
    families: Families
    """The sizes of the families of tests."""
    comparisons: list[CandidateComparison]
    """Each candidate with the baseline, or each pair where none is named and there are at most 50 candidates."""
    findable: FindableDifference | None
    """What this evaluation can find; null for one candidate."""
    strata: list[StratumScores] = Field(default_factory=list)
    """Scores by stratum of the personas, where the benchmark tells them apart (`strata.json`)."""
    general_changes: list[GeneralChange] = Field(default_factory=list)
    """The same pairs as in `comparisons`; none where `evaluation.general` is off."""
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

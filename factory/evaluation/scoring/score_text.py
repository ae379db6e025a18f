"""Scores in words and numbers: what the Markdown page and the terminal share."""

from factory.evaluation.scoring.pscore import PSCORE
from factory.evaluation.scoring.scores_schema import (
    CandidateComparison,
    CandidateRank,
    CandidateScores,
    FindableDifference,
    GeneralChange,
    GeneralVerdict,
    JudgeScores,
    Scores,
    TaskScore,
    Verdict,
)
from factory.personagym import TASKS

MARK = "†"
FEW = "‡"
FOOTNOTES = {
    MARK: "more questions are without a score than `evaluation.max_judge_failures` allows: failed judgments, and "
    "answers that were rejected before judging",
    FEW: "too few to say much: fewer than 10 personas, or an interval wider than 1",
}
MIN_EXAMPLES_SHARE = 0.95
"""Where a smaller share of the questions has example replies, a sentence reports it."""
NEAR_TOP = 0.25
"""Where at most this share of the personas has an answer below 5, their number is shown."""
VERDICTS: dict[Verdict, str] = {
    "higher": "**higher**",
    "lower": "**lower**",
    "no_difference_shown": "no difference shown",
    "too_few": "too few to say",
    "depends_on_unscored": "depends on the unscored answers",
    "blank": "too many unscored answers",
}
NONE = "-"


def task_label(document: Scores, task: str) -> str:
    """Return the short name of a task or of the PScore."""
    light = task == PSCORE and document.protocol == "light"
    return "PScore-L" if light else TASKS.get(task, task)


def score_columns(document: Scores) -> list[str]:
    """Return the short names of the tasks and of the PScore."""
    return [task_label(document, task) for task in [*document.tasks, PSCORE]]


def legend(document: Scores) -> str:
    """Spell out the short names of the tasks and of the PScore."""
    tasks = ", ".join(f"{task_label(document, task)} {task}" for task in document.tasks)
    return f"{tasks}; {task_label(document, PSCORE)} the average of the five"


def score_cell(score: TaskScore, scores: JudgeScores, interval: bool = True) -> str:
    """Return a score in the paper's form, `4.67 (.50)`, with marks and its interval; a dash where it is blank."""
    if score.mean is None or scores.blank:
        return NONE
    text = mean_and_std(score.mean, score.std) + MARK * scores.marked
    return f"{text}{FEW * score.too_few} {number_range(score.low, score.high)}".rstrip() if interval else text


def score_cells(document: Scores, scores: JudgeScores) -> list[str]:
    """Return a cell for each task, the PScore, its bounds and its number of personas."""
    shown = [*(scores.tasks[task] for task in document.tasks), scores.pscore]
    bounds = number_range(scores.pscore.bound_low, scores.pscore.bound_high) if scores.unscored_share else ""
    return [*(score_cell(score, scores) for score in shown), bounds or NONE, f"{scores.pscore.personas:,}"]


def below_top_cell(score: TaskScore) -> str:
    """Return how many personas have an answer below 5, where they are few."""
    below = score.below_top
    if below is None or not below.of or below.count > NEAR_TOP * below.of or below.low is None or below.high is None:
        return NONE
    return f"{below.count:,} of {below.of:,} [{below.low:.1%}, {below.high:.1%}]"


def rank_text(rank: CandidateRank | None) -> str:
    """Return a rank and its interval, `3 [2, 5]`."""
    return NONE if rank is None else f"{rank.rank} [{rank.low}, {rank.high}]"


def by_rank(document: Scores) -> list[CandidateScores]:
    """Return the candidates by rank, those without one last."""
    return sorted(document.candidates, key=lambda one: one.rank.rank if one.rank else len(document.candidates) + 1)


def mean_and_std(mean: float, std: float | None) -> str:
    """Return both in the paper's form, `4.67 (.50)`."""
    return f"{mean:.2f}" + ("" if std is None else f" ({f'{std:.2f}'.removeprefix('0')})")


def number_range(low: float | None, high: float | None, sign: str = "", digits: int = 2) -> str:
    """Return an interval, or nothing where it is undefined."""
    return "" if low is None or high is None else f"[{low:{sign}.{digits}f}, {high:{sign}.{digits}f}]"


def number(value: float | None, form: str) -> str:
    """Return a number in a format, or a dash where it is undefined."""
    return NONE if value is None else f"{value:{form}}"


def p_value(value: float | None) -> str:
    """Return a p-value, `<0.001` at the least."""
    return "<0.001" if value is not None and value < 0.001 else number(value, ".3f")


def difference_text(difference: float | None, low: float | None, high: float | None) -> str:
    """Return a difference and its interval, `+0.12 [+0.05, +0.19]`."""
    return f"{number(difference, '+z.2f')} {number_range(low, high, '+z')}".rstrip()


def comparison_cells(document: Scores, comparison: CandidateComparison) -> list[str]:
    """Return the cells of a comparison in the PScore."""
    result, controlled = comparison.results[-1], comparison.length_controlled
    length = difference_text(controlled.difference, controlled.low, controlled.high) if controlled else NONE
    judges = f"{comparison.same_direction} of {len(document.judges)}"
    shown = [difference_text(result.difference, result.low, result.high), number(result.effect, "+z.2f")]
    return [*shown, p_value(result.p), VERDICTS[result.verdict], judges, length, f"{result.personas:,}"]


def task_cells(comparison: CandidateComparison) -> list[str]:
    """Return the differences of a comparison in each task, those that are shown to differ in bold."""
    cells = []
    for result in comparison.results[:-1]:
        text = difference_text(result.difference, result.low, result.high)
        cells.append(f"**{text}**" if result.verdict in ("higher", "lower") else text)
    return cells


def families_text(document: Scores) -> str:
    """Report which comparisons are tested together."""
    families, base = document.families, document.baseline
    count = f"{families.pscore:,} comparison{'s' if families.pscore != 1 else ''}"
    what = f"each other candidate with {base}" if base else "all pairs"
    return (
        f"Tested together: the PScores of {what} ({count}), the tasks of the same ({families.tasks:,}), and for the "
        f"ranks the PScores of all pairs ({families.ranks:,}). In each of these families any false claim has a "
        "probability of 5 % (step-down max-T over sign flips, paired by persona). Differences by single judges and at "
        "equal length are not tested. An interval is of one number alone, so it can leave out 0 where no difference is "
        "shown."
    )


def findable_text(found: FindableDifference) -> str:
    """Report what an evaluation can find."""
    questions, draws = ("" if one else " at best" for one in (found.questions_measured, found.draws_measured))
    parts = [
        f"with twice the personas {number(found.personas, '.3f')}",
        f"with twice the questions {number(found.questions, '.3f')}{questions}",
        f"with twice the answers per question {number(found.draws, '.3f')}{draws}",
    ]
    if found.judges is not None:
        parts.append(f"with twice the judges {found.judges:.3f}")
    return (
        f"The smallest true difference in the PScore that is found in 80 % of all cases is "
        f"{number(found.difference, '.3f')}; {', '.join(parts)}."
    )


def missing_examples(document: Scores) -> str:
    """Report that many questions have no example replies; empty where few do."""
    examples, questions = document.benchmark.examples, document.benchmark.questions
    if examples >= MIN_EXAMPLES_SHARE * questions:
        return ""
    has = f"Only {examples:,} of {questions:,} questions have example replies for each score"
    return f"{has}; judges got none for the others."


def agreement_text(document: Scores) -> str:
    """Report the judges' agreement in each task."""
    if len(document.judges) < 2:
        return "There is only one judge, so agreement between judges cannot be measured."
    by_task = [f"{task_label(document, task)} {number(one.alpha, '.2f')}" for task, one in document.agreement.items()]
    mean = f"mean {number(document.mean_alpha, '.2f')}"
    return f"Agreement of the judges, Krippendorff's ordinal alpha (1 perfect, 0 chance): {', '.join(by_task)}; {mean}."


GENERAL_VERDICTS: dict[GeneralVerdict, str] = {
    "kept": "kept within {margin:.0%}",
    "lost": "lost more than {margin:.0%}",
    "lower": "lower, by less than {margin:.0%}",
    "unknown": "it cannot be told whether more than {margin:.0%} were lost: {needed:,} instructions would tell",
}


def general_change_text(change: GeneralChange) -> str:
    """Report a change of general ability in one sentence."""
    parts = []
    if change.followed is not None and change.verdict is not None:
        points = f"{abs(100 * change.followed):.1f} points {'fewer' if change.followed < 0 else 'more'}"
        low, high = 100 * (change.followed_low or 0), 100 * (change.followed_high or 0)
        interval = f"90 % interval [{low:+z.1f}, {high:+z.1f}]"
        verdict = GENERAL_VERDICTS[change.verdict].format(margin=change.margin, needed=change.needed or 0)
        parts.append(f"follows {points if change.followed else 'as many'} ({interval}): {verdict}")
    if change.perplexity_a is not None:
        loss = "not comparable: the tokenizers differ"
        if change.log_loss is not None:
            interval = number_range(change.log_loss_low, change.log_loss_high, "+z", digits=3)
            loss = f"{change.log_loss:+z.3f} nats per token {interval}".rstrip()
        parts.append(f"perplexity {change.perplexity_b:,.2f} to {change.perplexity_a:,.2f} ({loss})")
    return f"{change.a} against {change.b}: {'; '.join(parts) if parts else 'nothing to compare'}"

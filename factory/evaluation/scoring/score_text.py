"""Scores in words and numbers: what the Markdown page and the terminal share."""

from factory.evaluation.scoring.scores_schema import GeneralChange, JudgeScores, ScoreDifference, Scores, TaskScore
from factory.evaluation.scoring.statistics import PSCORE
from factory.personagym import TASKS

MARK = "†"
FOOTNOTE = (
    f"{MARK} more questions are without a score than `evaluation.max_judge_failures` allows: failed judgments, and "
    "answers that were rejected before judging"
)
MIN_EXAMPLES_SHARE = 0.95
"""Where a smaller share of the questions has example replies, a sentence reports it."""
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


def score_cell(score: TaskScore, marked: bool = False, interval: bool = True) -> str:
    """Return a score in the paper's form, `4.67 (.50)`, and its interval."""
    if score.mean is None or score.std is None:
        return NONE
    text = mean_and_std(score.mean, score.std) + (MARK if marked else "")
    return f"{text} {number_range(score.low, score.high)}".rstrip() if interval else text


def score_cells(document: Scores, scores: JudgeScores) -> list[str]:
    """Return a cell for each task, the PScore and its number of personas."""
    shown = [*(scores.tasks[task] for task in document.tasks), scores.pscore]
    return [*(score_cell(score, scores.marked) for score in shown), f"{scores.pscore.personas:,}"]


def mean_and_std(mean: float, std: float) -> str:
    """Return both in the paper's form, `4.67 (.50)`."""
    return f"{mean:.2f} ({f'{std:.2f}'.removeprefix('0')})"


def number_range(low: float | None, high: float | None, sign: str = "", digits: int = 2) -> str:
    """Return an interval, or nothing where it is undefined."""
    return "" if low is None or high is None else f"[{low:{sign}.{digits}f}, {high:{sign}.{digits}f}]"


def number(value: float | None, form: str) -> str:
    """Return a number in a format, or a dash where it is undefined."""
    return NONE if value is None else f"{value:{form}}"


def p_value(value: float | None) -> str:
    """Return a p-value, `<0.001` at the least."""
    return "<0.001" if value is not None and value < 0.001 else number(value, ".3f")


def difference_cells(document: Scores, result: ScoreDifference) -> list[str]:
    """Return the cells of a comparison in one task."""
    difference = f"{number(result.difference, '+z.2f')} {number_range(result.low, result.high, '+z')}".rstrip()
    return [
        task_label(document, result.task),
        difference,
        number(result.effect, "+z.2f"),
        p_value(result.p),
        p_value(result.p_holm),
        f"{result.personas:,}",
        "**yes**" if result.significant else "no",
    ]


def missing_examples(document: Scores) -> str:
    """Report that many questions have no example replies; empty where few do."""
    examples, questions = document.benchmark.examples, document.benchmark.questions
    if examples >= MIN_EXAMPLES_SHARE * questions:
        return ""
    has = f"Only {examples:,} of {questions:,} questions have example replies for each score"
    return f"{has}; judges got none for the others."


def agreement_text(document: Scores) -> str:
    """Report the judges' agreement in each task and over all."""
    if len(document.judges) < 2:
        return "There is only one judge, so agreement between judges cannot be measured."
    by_task = [f"{task_label(document, task)} {number(alpha, '.2f')}" for task, alpha in document.agreement.items()]
    return f"Agreement of the judges, Krippendorff's ordinal alpha (1 perfect, 0 chance): {', '.join(by_task)}."


def general_change_text(change: GeneralChange) -> str:
    """Report a change of general ability in one sentence."""
    parts = []
    if change.followed is not None:
        points = f"{abs(100 * change.followed):.1f} points {'fewer' if change.followed < 0 else 'more'}"
        parts.append(f"follows {points if change.followed else 'as many'} (p {p_value(change.p)})")
    if change.perplexity_a is not None:
        loss = "not comparable: the tokenizers differ"
        if change.log_loss is not None:
            interval = number_range(change.log_loss_low, change.log_loss_high, "+z", digits=3)
            loss = f"{change.log_loss:+z.3f} nats per token {interval}".rstrip()
        parts.append(f"perplexity {change.perplexity_b:,.2f} to {change.perplexity_a:,.2f} ({loss})")
    verdict = "a significant loss" if change.significant_loss else "no significant loss"
    return f"{change.a} against {change.b}: {', '.join([*parts, verdict]) if parts else 'nothing to compare'}"

"""Scores for people: a Markdown page, a table for the terminal, and what to know of it in words."""

import re
from collections.abc import Sequence

from rich.table import Table as Grid
from rich.text import Text

from factory.evaluation.scoring.paper_scores import GROUPS, JUDGE, published
from factory.evaluation.scoring.scores_schema import (
    MEAN,
    CandidateComparison,
    Difference,
    GeneralChange,
    JudgeScores,
    Scores,
    TaskScore,
)
from factory.evaluation.scoring.statistics import PSCORE
from factory.personagym import TASKS

MARK = "†"
FOOTNOTE = (
    f"{MARK} more of the questions are without a score than `evaluation.max_judge_failures` allows: "
    "judgments that failed, and answers that were rejected before"
)
FEW_EXAMPLES = 0.95
"""Where fewer of the questions have example replies, it is told."""
NONE = "-"
_SPECIAL = re.compile(r"[\\`*\[\]<>|~&]|(?<!\w)_|_(?!\w)")  # an underscore inside a word is nothing but that


def cell(score: TaskScore, marked: bool = False, interval: bool = True) -> str:
    """A score as the paper prints it, `4.67 (.50)`, and its interval."""
    if score.mean is None or score.std is None:
        return NONE
    told = _as_printed(score.mean, score.std) + (MARK if marked else "")
    return f"{told} {_range(score.low, score.high)}".rstrip() if interval else told


def _as_printed(mean: float, std: float) -> str:
    return f"{mean:.2f} ({f'{std:.2f}'.removeprefix('0')})"


def _range(low: float | None, high: float | None, sign: str = "", digits: int = 2) -> str:
    return "" if low is None or high is None else f"[{low:{sign}.{digits}f}, {high:{sign}.{digits}f}]"


def _number(value: float | None, form: str) -> str:
    return NONE if value is None else f"{value:{form}}"


def _p(value: float | None) -> str:
    return "<0.001" if value is not None and value < 0.001 else _number(value, ".3f")


def _short(document: Scores, task: str) -> str:
    light = task == PSCORE and document.protocol == "light"
    return "PScore-L" if light else TASKS.get(task, task)


def _columns(document: Scores) -> list[str]:
    return [_short(document, task) for task in [*document.tasks, PSCORE]]


def _cells(document: Scores, scores: JudgeScores) -> list[str]:
    told = [cell(score, scores.marked) for score in [*(scores.tasks[task] for task in document.tasks), scores.pscore]]
    return [*told, f"{scores.pscore.personas:,}"]


def leaderboard(document: Scores) -> str:
    """The scores as a Markdown page."""
    parts = ["# Scores", _measured(document), *_main_table(document)]
    for judge in document.judges:
        parts += _judge_table(document, judge.name)
    for comparison in {(one.a, one.b): None for one in document.comparisons}:
        parts += _comparison_table(document, *comparison)
    parts += _general_section(document)
    parts += ["## Agreement", _escaped(_agreement(document)), *_answers_table(document)]
    if document.warnings:
        parts += ["## Warnings", "\n".join(f"- {_escaped(warning)}" for warning in document.warnings)]
    return "\n\n".join(parts) + "\n"


def _escaped(text: str) -> str:
    """Names and messages as they are: nothing in them is Markdown, ends a cell or begins a line."""
    return _SPECIAL.sub(r"\\\g<0>", " ".join(text.split()))


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], names: int = 1) -> str:
    lines = [head, [*["---"] * names, *["---:"] * (len(head) - names)], *rows]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return f"{table}\n\n{FOOTNOTE}" if MARK in table else table


def _measured(document: Scores) -> str:
    benchmark, judges = document.benchmark, []
    for judge in document.judges:
        judges.append(f"{judge.name} ({judge.model}, {judge.kind}, family {judge.family or 'unknown'})")
    told = " or ".join(sorted({candidate.condition for candidate in document.candidates}))
    few = _few_examples(document)
    return (
        _escaped(
            f"Benchmark {benchmark.name} ({benchmark.place}, {benchmark.digest}), protocol {document.protocol}: "
            f"{benchmark.personas:,} personas, {benchmark.questions:,} questions. Candidates are told the {told}. "
            f"Judges{' (asked as the paper asked its own)' if document.parity else ''}: {'; '.join(judges)}. "
        )
        + " A cell is the mean over personas (their population standard deviation) and the 95 % interval of the mean. "
        + f"A {_short(document, PSCORE)} is of those that have a score in all tasks; their number is beside it."
        + (f"\n\n{few}" if few else "")
    )


def _few_examples(document: Scores) -> str:
    there, of = document.benchmark.examples, document.benchmark.questions
    if there >= FEW_EXAMPLES * of:
        return ""
    return f"Only {there:,} of {of:,} questions have example replies of each score; judges saw none for the others."


def _main_table(document: Scores) -> list[str]:
    rows = [[_escaped(one.name), one.condition, *_cells(document, one.scores)] for one in document.candidates]
    if document.published:
        rows += _paper_rows(document)
        told = (
            f"Rows marked (paper) are OpenCharacter's (arXiv 2501.15427, Tables 3 to 5). Their judge is {JUDGE}: "
            "numbers of other judges or benchmarks do not compare with them."
        )
    else:
        told = f"The paper's rows are left out: they are of PersonaGym, and {_escaped(document.benchmark.name)} is not."
    title = "## By the mean of the judges" if len(document.judges) > 1 else "## By the judge"
    return [title, _table(["model", "told", *_columns(document), "personas"], rows, names=2), told]


def _paper_rows(document: Scores) -> list[list[str]]:
    rows = []
    for group, title in GROUPS.items():
        members = [row for row in published(document.protocol) if row.group == group]
        rows.append([f"**paper: {title}**", *[""] * (len(document.tasks) + 3)])
        for row in members:
            cells = [_as_printed(*row.scores[task]) for task in [*document.tasks, PSCORE]]
            rows.append([f"{_escaped(row.model)} (paper)", "", *cells, ""])
    return rows


def _judge_table(document: Scores, judge: str) -> list[str]:
    rows = []
    for candidate in document.candidates:
        scores = candidate.by_judge[judge]
        expected = cell(scores.expected_pscore) if scores.expected_pscore else NONE
        length = scores.length_correlation
        rows.append(
            [
                _escaped(candidate.name),
                *_cells(document, scores),
                expected,
                f"{scores.judged:,}",
                f"{scores.failed:,} ({scores.failure_share:.1%})",
                f"{length.rho:.2f} (p {_p(length.p)})" if length else NONE,
            ]
        )
    columns = _columns(document)
    head = ["model", *columns, "personas", f"expected {columns[-1]}", "judged", "failed", "score and length, rho"]
    return [f"## By {_escaped(judge)}", _table(head, rows)]


def _comparison_table(document: Scores, a: str, b: str) -> list[str]:
    rows = []
    for comparison in document.comparisons:
        if (comparison.a, comparison.b) == (a, b):
            judge = "mean" if comparison.judge == MEAN else _escaped(comparison.judge)
            rows += [[judge, *_comparison_cells(document, result)] for result in comparison.results]
    head = ["judge", "score", "difference", "d_z", "p", "Holm p", "personas", "significant"]
    told = (
        "The difference is over the personas that both have a score for, with its 95 % interval; d_z is its mean over "
        "its standard deviation; p is of a paired sign-flip permutation test, and Holm p is adjusted for the tasks."
    )
    return [f"## {_escaped(a)} against {_escaped(b)}", told, _table(head, rows, names=2)]


def _comparison_cells(document: Scores, result: Difference) -> list[str]:
    difference = f"{_number(result.difference, '+z.2f')} {_range(result.low, result.high, '+z')}".rstrip()
    return [
        _short(document, result.task),
        difference,
        _number(result.effect, "+z.2f"),
        _p(result.p),
        _p(result.p_holm),
        f"{result.personas:,}",
        "**yes**" if result.significant else "no",
    ]


def _general_section(document: Scores) -> list[str]:
    rows = []
    for one in document.candidates:
        if general := one.general:
            interval = f" [{general.low:.1%}, {general.high:.1%}]" if general.of else ""
            followed = _number(general.followed, ".1%") + interval
            perplexity = _number(general.perplexity, ",.2f")
            rows.append([_escaped(one.name), followed, f"{general.of:,}", perplexity, f"{general.items:,}"])
    if not rows:
        return []
    told = (
        "Without a role: the share of instructions whose reply holds to all that was asked for, with its 95 % Wilson "
        "interval, and the perplexity of held-out replies to plain instructions, which endpoints do not tell."
    )
    head = ["model", "followed", "instructions", "perplexity", "replies"]
    changes = "\n".join(f"- {_escaped(_general_in_words(change))}" for change in document.general_changes)
    return ["## General ability", told, _table(head, rows), *([changes] if changes else [])]


def _general_in_words(change: GeneralChange) -> str:
    told = []
    if change.followed is not None:
        points = f"{abs(100 * change.followed):.1f} points {'fewer' if change.followed < 0 else 'more'}"
        told.append(f"follows {points if change.followed else 'as many'} (p {_p(change.p)})")
    if change.perplexity_a is not None:
        loss = "in other tokens, which do not compare"
        if change.log_loss is not None:
            interval = _range(change.log_loss_low, change.log_loss_high, "+z", digits=3)
            loss = f"{change.log_loss:+z.3f} nats a token {interval}".rstrip()
        told.append(f"perplexity {change.perplexity_b:,.2f} to {change.perplexity_a:,.2f} ({loss})")
    verdict = "a significant loss" if change.significant_loss else "no significant loss"
    return f"{change.a} against {change.b}: {', '.join([*told, verdict]) if told else 'nothing to compare'}"


def _agreement(document: Scores) -> str:
    if len(document.judges) < 2:
        return "There is one judge, so nothing tells how far another would agree."
    each = [f"{_short(document, task)} {_number(alpha, '.2f')}" for task, alpha in document.agreement.items()]
    return f"Agreement of the judges, Krippendorff's ordinal alpha (1 perfect, 0 chance): {', '.join(each)}."


def _answers_table(document: Scores) -> list[str]:
    rows = []
    for one in document.candidates:
        reasons = ", ".join(f"`{reason}` {number:,}" for reason, number in one.answers_rejected.items()) or "0"
        words, length = _number(one.answer_words_mean, ",.1f"), one.scores.length_correlation
        rho = f"{length.rho:.2f} (p {_p(length.p)})" if length else NONE
        model = [_escaped(one.name), _escaped(one.model), _escaped((one.revision or NONE)[:12])]
        counts = [f"{one.questions:,}", f"{one.answered:,}", reasons, f"{one.answers_truncated:,}", words]
        rows.append([*model, *counts, f"{one.scores.failed:,}", rho])
    head = ["model", "weights", "revision", "questions", "answered", "without answer", "cut", "words", "unjudged"]
    return ["## Answers", _table([*head, "score and length, rho"], rows, names=3)]


def grid(document: Scores) -> Grid:
    """The scores by each judge and by the mean of all, for a terminal of 140 columns."""
    table = Grid(title="Scores", title_justify="left", box=None, padding=(0, 2, 0, 0))
    table.add_column("model", overflow="fold")
    table.add_column("judge", overflow="fold")
    for name in [*_columns(document), "judged", "failed"]:
        table.add_column(name, justify="right", no_wrap=True)
    for candidate in document.candidates:
        by = dict(candidate.by_judge) | ({"mean": candidate.scores} if len(document.judges) > 1 else {})
        for judge, scores in by.items():
            cells = [cell(scores.tasks[task], scores.marked, interval=False) for task in document.tasks]
            row = [candidate.name, judge, *cells, cell(scores.pscore, scores.marked)]
            row += [f"{scores.judged:,}", f"{scores.failed:,}"]
            table.add_row(*map(Text, row))  # a name may hold [brackets]
    return table


def notes(document: Scores) -> list[str]:
    """What to know of the scores, a sentence each: failures, agreement, comparisons, warnings."""
    told = []
    for one in document.candidates:
        if one.answers_rejected:
            reasons = ", ".join(f"{reason} {number:,}" for reason, number in one.answers_rejected.items())
            told.append(f"{one.name}: {one.answered:,} of {one.questions:,} questions have an answer; {reasons}")
        for judge, scores in one.by_judge.items():
            if scores.failed or scores.marked:
                share = f"{scores.failed:,} judgments ({scores.failure_share:.1%}) failed"
                told.append(f"{one.name} by {judge}: {share}{f'; {FOOTNOTE}' if scores.marked else ''}")
            if scores.pscore.personas < document.benchmark.personas:
                few = f"{scores.pscore.personas:,} of {document.benchmark.personas:,} personas"
                told.append(f"{one.name} by {judge}: only {few} have a score in all tasks, and so a PScore")
    told += [few] if (few := _few_examples(document)) else []
    told.append(_agreement(document))
    told += [_in_words(document, comparison) for comparison in document.comparisons]
    told += [f"General ability, {_general_in_words(change)}" for change in document.general_changes]
    return told + [f"Warning: {warning}" for warning in document.warnings]


def _in_words(document: Scores, comparison: CandidateComparison) -> str:
    judge = "the mean of the judges" if comparison.judge == MEAN else comparison.judge
    whole, tasks = "", []
    for result in comparison.results:
        name, difference, effect, p, p_holm, personas, _ = _comparison_cells(document, result)
        if result.task == PSCORE:
            verdict = "significant" if result.significant else "not significant"
            whole = f"{name} {difference}, {verdict} (p {p}, d_z {effect}, {personas} personas)"
        elif result.significant:
            tasks.append(f"{name} {difference} (Holm p {p_holm})")
    return (
        f"{comparison.a} against {comparison.b}, by {judge}: {whole}; significant tasks: {', '.join(tasks) or 'none'}"
    )

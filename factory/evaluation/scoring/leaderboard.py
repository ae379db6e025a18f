"""The scores as a Markdown page for people, `leaderboard.md`."""

import re
from collections.abc import Sequence

from factory.evaluation.scoring import score_text as text
from factory.evaluation.scoring.model_families import display_name
from factory.evaluation.scoring.paper_scores import GROUPS, JUDGE, published
from factory.evaluation.scoring.scores_schema import MEAN, LengthCorrelation, Scores
from factory.evaluation.scoring.statistics import PSCORE
from factory.text.amounts import dollars

_SPECIAL = re.compile(r"[\\`*\[\]<>|~&]|(?<!\w)_|_(?!\w)")  # an underscore inside a word is plain text


def leaderboard(document: Scores) -> str:
    """Return the scores as a Markdown page."""
    parts = ["# Scores", _introduction(document), *_main_table(document)]
    for judge in document.judges:
        parts += _judge_table(document, judge.name)
    for a, b in dict.fromkeys((comparison.a, comparison.b) for comparison in document.comparisons):
        parts += _comparison_table(document, a, b)
    parts += _general_section(document)
    parts += ["## Agreement", _escape(text.agreement_text(document)), *_answers_table(document)]
    if document.costs:
        costs = (f"{what} {'unknown' if cost is None else dollars(cost)}" for what, cost in document.costs.items())
        parts.append(_escape(f"Cost of endpoints: {', '.join(costs)}."))
    if document.warnings:
        parts += ["## Warnings", "\n".join(f"- {_escape(warning)}" for warning in document.warnings)]
    return "\n\n".join(parts) + "\n"


def _escape(value: str) -> str:
    """Escape names and messages: nothing in them is Markdown, ends a cell or begins a line."""
    return _SPECIAL.sub(r"\\\g<0>", " ".join(value.split()))


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], names: int = 1) -> str:
    lines = [head, [*["---"] * names, *["---:"] * (len(head) - names)], *rows]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return f"{table}\n\n{text.FOOTNOTE}" if text.MARK in table else table


def _introduction(document: Scores) -> str:
    benchmark, judges = document.benchmark, []
    for judge in document.judges:
        family = judge.family or "unknown"
        judges.append(f"{judge.name} ({display_name(judge.model)}, {judge.kind}, family {family})")
    roles = " or ".join(sorted({candidate.condition for candidate in document.candidates}))
    protocol = " (with the paper's free-text protocol)" if document.judge_protocol == "opencharacter" else ""
    missing = text.missing_examples(document)
    return (
        _escape(
            f"Benchmark {benchmark.name} (digest {benchmark.digest}), protocol {document.protocol}: "
            f"{benchmark.personas:,} personas, {benchmark.questions:,} questions. Candidates get the {roles}. "
            f"Judges{protocol}: {'; '.join(judges)}. Scores go from 1 to 5: {text.legend(document)}. "
        )
        + " A cell is the mean over personas (their population standard deviation) and the 95 % interval of the mean. "
        + f"{text.task_label(document, PSCORE)} is over the personas with a score in all tasks; "
        + "their number is beside it."
        + (f"\n\n{missing}" if missing else "")
    )


def _main_table(document: Scores) -> list[str]:
    rows = [[_escape(one.name), one.condition, *text.score_cells(document, one.scores)] for one in document.candidates]
    if document.published:
        rows += _paper_rows(document)
        note = (
            f"Rows marked (paper) are OpenCharacter's (arXiv 2501.15427, Tables 3 to 5). Their judge is {JUDGE}: "
            "scores of other judges or benchmarks are not comparable with them."
        )
    else:
        note = f"The paper's rows are left out: they are of PersonaGym, and {_escape(document.benchmark.name)} is not."
    title = "## By the mean of the judges" if len(document.judges) > 1 else "## By the judge"
    return [title, _table(["model", "role", *text.score_columns(document), "personas"], rows, names=2), note]


def _paper_rows(document: Scores) -> list[list[str]]:
    rows = []
    for group, title in GROUPS.items():
        members = [row for row in published(document.protocol) if row.group == group]
        rows.append([f"**paper: {title}**", *[""] * (len(document.tasks) + 3)])
        for row in members:
            cells = [text.mean_and_std(*row.scores[task]) for task in [*document.tasks, PSCORE]]
            rows.append([f"{_escape(row.model)} (paper)", "", *cells, ""])
    return rows


def _judge_table(document: Scores, judge: str) -> list[str]:
    rows = []
    for candidate in document.candidates:
        scores = candidate.by_judge[judge]
        rows.append(
            [
                _escape(candidate.name),
                *text.score_cells(document, scores),
                text.score_cell(scores.expected_pscore) if scores.expected_pscore else text.NONE,
                f"{scores.judged:,}",
                f"{scores.failed:,} ({scores.failure_share:.1%})",
                _correlation(scores.length_correlation),
            ]
        )
    columns = text.score_columns(document)
    head = ["model", *columns, "personas", f"expected {columns[-1]}", "judged", "failed", "score and length, rho"]
    return [f"## By {_escape(judge)}", _table(head, rows)]


def _correlation(length: LengthCorrelation | None) -> str:
    return f"{length.rho:.2f} (p {text.p_value(length.p)})" if length else text.NONE


def _comparison_table(document: Scores, a: str, b: str) -> list[str]:
    rows = []
    for comparison in document.comparisons:
        if (comparison.a, comparison.b) == (a, b):
            judge = "mean" if comparison.judge == MEAN else _escape(comparison.judge)
            rows += [[judge, *text.difference_cells(document, result)] for result in comparison.results]
    head = ["judge", "score", "difference", "d_z", "p", "Holm p", "personas", "significant"]
    note = (
        "The difference is over the personas with a score for both, with its 95 % interval; d_z is its mean over "
        "its standard deviation; p is of a paired sign-flip permutation test, and Holm p is adjusted for the tasks."
    )
    return [f"## {_escape(a)} against {_escape(b)}", note, _table(head, rows, names=2)]


def _general_section(document: Scores) -> list[str]:
    rows = []
    for candidate in document.candidates:
        if general := candidate.general:
            interval = f" [{general.low:.1%}, {general.high:.1%}]" if general.of else ""
            followed = text.number(general.followed, ".1%") + interval
            perplexity = text.number(general.perplexity, ",.2f")
            rows.append([_escape(candidate.name), followed, f"{general.of:,}", perplexity, f"{general.items:,}"])
    if not rows:
        return []
    note = (
        "Without a role: the share of verifiable instructions that the reply follows in all points, with its 95 % "
        "Wilson interval, and the perplexity of held-out replies to plain instructions, which endpoints do not return."
    )
    head = ["model", "followed", "instructions", "perplexity", "replies"]
    changes = "\n".join(f"- {_escape(text.general_change_text(change))}" for change in document.general_changes)
    return ["## General ability", note, _table(head, rows), *([changes] if changes else [])]


def _answers_table(document: Scores) -> list[str]:
    rows = []
    for candidate in document.candidates:
        rejected = candidate.answers_rejected.items()
        rows.append(
            [
                _escape(candidate.name),
                _escape(display_name(candidate.model)),
                _escape((candidate.revision or text.NONE)[:12]),
                f"{candidate.questions:,}",
                f"{candidate.answered:,}",
                ", ".join(f"`{reason}` {count:,}" for reason, count in rejected) or "0",
                f"{candidate.answers_truncated:,}",
                text.number(candidate.answer_words_mean, ",.1f"),
                f"{candidate.scores.failed:,}",
                _correlation(candidate.scores.length_correlation),
            ]
        )
    head = ["model", "weights", "revision", "questions", "answered", "without answer", "truncated", "words", "unjudged"]
    return ["## Answers", _table([*head, "score and length, rho"], rows, names=3)]

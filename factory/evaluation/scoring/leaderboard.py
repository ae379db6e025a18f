"""The scores as a Markdown page for people, `leaderboard.md`."""

from collections.abc import Sequence

from factory.evaluation.scoring import score_text as text
from factory.evaluation.scoring.fork_table import fork_section
from factory.evaluation.scoring.markdown import escape as _escape
from factory.evaluation.scoring.markdown import markdown_table
from factory.evaluation.scoring.model_families import display_name
from factory.evaluation.scoring.paper_scores import GROUPS, JUDGE, published
from factory.evaluation.scoring.pscore import PSCORE
from factory.evaluation.scoring.scores_schema import CandidateComparison, JudgeScores, LengthCorrelation, Scores
from factory.evaluation.scoring.stratum_table import stratum_section
from factory.text.amounts import dollars

_RANKED_BY = {
    "expected": "expected scores, which each judge's own probabilities give",
    "whole": "whole scores, since not all judges gave the probabilities that expected ones need",
}
MAX_ROWS = 200
"""Comparisons on the page; `scores.json` has all."""


def leaderboard(document: Scores) -> str:
    """Return the scores as a Markdown page."""
    parts = ["# Scores", _introduction(document), *_main_table(document), *fork_section(document)]
    parts += _comparisons(document)
    for judge in document.judges:
        parts += _judge_table(document, judge.name)
    parts += _judges_section(document)
    parts += [
        *_near_top(document),
        *stratum_section(document),
        *_general_section(document),
        *_agreement(document),
        *_answers_table(document),
    ]
    if document.costs:
        costs = (f"{what} {'unknown' if cost is None else dollars(cost)}" for what, cost in document.costs.items())
        parts.append(_escape(f"Cost of endpoints: {', '.join(costs)}."))
    if document.warnings:
        parts += ["## Warnings", "\n".join(f"- {_escape(warning)}" for warning in document.warnings)]
    return "\n\n".join(parts) + "\n"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], names: int = 1) -> str:
    table = markdown_table(head, rows, names)
    notes = [f"{mark} {note}" for mark, note in text.FOOTNOTES.items() if mark in table]
    return "\n\n".join([table, *notes])


def _folded(title: str, *parts: str) -> str:
    return "\n\n".join([f"<details><summary>{_escape(title)}</summary>", *parts, "</details>"])


def _introduction(document: Scores) -> str:
    benchmark, judges = document.benchmark, []
    for judge in document.judges:
        family = judge.family or "unknown"
        judges.append(f"{judge.name} ({display_name(judge.model)}, {judge.kind}, family {family})")
    roles = " or ".join(sorted({candidate.condition for candidate in document.candidates}))
    protocol = " (asked as in the paper)" if document.judge_protocol == "opencharacter" else ""
    missing = text.missing_examples(document)
    draws = f", each answered {document.draws} times" if document.draws > 1 else ""
    return (
        _escape(
            f"Benchmark {benchmark.name} (digest {benchmark.digest}), protocol {document.protocol}: "
            f"{benchmark.personas:,} personas, {benchmark.questions:,} questions{draws}. Candidates get the {roles}. "
            f"Judges{protocol}: {'; '.join(judges)}. Scores go from 1 to 5: {text.legend(document)}. "
        )
        + " A cell is the mean over personas (their population standard deviation) and the 95 % interval of the mean. "
        + f"{text.task_label(document, PSCORE)} is the mean of the task means. Its bounds are what it would be if all "
        + "unscored answers had 1, or 5. "
        + f"Ranks and comparisons are by {_RANKED_BY[document.ranked_by]}."
        + (f"\n\n{missing}" if missing else "")
    )


def _main_table(document: Scores) -> list[str]:
    expected = document.ranked_by == "expected"
    rows = []
    for one in text.by_rank(document):
        cells = [text.rank_text(one.rank), _escape(one.name), one.condition, *text.score_cells(document, one.scores)]
        rows.append([*cells, _expected(one.scores)] if expected else cells)
    if document.published:
        rows += _paper_rows(document, expected)
        note = (
            f"Rows marked (paper) are OpenCharacter's (arXiv 2501.15427, Tables 3 to 5). Their judge is {JUDGE}: "
            "scores of other judges or benchmarks are not comparable with them."
        )
    else:
        note = f"The paper's rows are left out: {_escape(document.unpublished_because)}."
    title = "## By the mean of the judges" if len(document.judges) > 1 else "## By the judge"
    columns = text.score_columns(document)
    head = ["rank", "model", "role", *columns, "bounds", "personas"]
    head += [f"expected {columns[-1]}"] if expected else []
    return [title, _table(head, rows, names=3), note]


def _expected(scores: JudgeScores) -> str:
    return text.score_cell(scores.expected_pscore, scores) if scores.expected_pscore else text.NONE


def _paper_rows(document: Scores, expected: bool) -> list[list[str]]:
    rows = []
    for group, title in GROUPS.items():
        members = [row for row in published(document.protocol) if row.group == group]
        rows.append(["", f"**paper: {title}**", *[""] * (len(document.tasks) + 4 + expected)])
        for row in members:
            cells = [text.mean_and_std(*row.scores[task]) for task in [*document.tasks, PSCORE]]
            rows.append(["", f"{_escape(row.model)} (paper)", "", *cells, *[""] * (2 + expected)])
    return rows


def _judge_table(document: Scores, judge: str) -> list[str]:
    rows = []
    for candidate in document.candidates:
        scores = candidate.by_judge[judge]
        rows.append(
            [
                _escape(candidate.name),
                *text.score_cells(document, scores),
                _expected(scores),
                f"{scores.judged:,}",
                f"{scores.failed:,} ({scores.failure_share:.1%})",
                _correlation(scores.length_correlation),
            ]
        )
    columns = text.score_columns(document)
    head = [
        "model",
        *columns,
        "bounds",
        "personas",
        f"expected {columns[-1]}",
        "judged",
        "failed",
        "score and length, rho",
    ]
    return [f"## By {_escape(judge)}", _table(head, rows)]


def _correlation(length: LengthCorrelation | None) -> str:
    return f"{length.rho:.2f} (p {text.p_value(length.p)})" if length else text.NONE


def _comparisons(document: Scores) -> list[str]:
    """Return the comparisons: those with the baseline or with the first rank, and the others folded."""
    if len(document.candidates) < 2:
        return []
    parts = ["## Comparisons", _escape(text.families_text(document))]
    if document.findable:
        parts.append(text.findable_text(document.findable))
    if not document.comparisons:
        return [*parts, "No pair is listed, since there are so many: name an `evaluation.baseline`."]
    first = document.baseline or text.by_rank(document)[0].name
    shown = [one for one in document.comparisons if first in (one.a, one.b)]
    others = [one for one in document.comparisons if first not in (one.a, one.b)][:MAX_ROWS]
    parts += [_pscore_table(document, shown), _folded("By task", _task_table(document, shown))]
    if others:
        title = f"The other pairs: {len(document.comparisons) - len(shown):,}"
        title += f", of which {MAX_ROWS} are shown; `scores.json` has all" if len(others) == MAX_ROWS else ""
        parts.append(_folded(title, _pscore_table(document, others), _task_table(document, others)))
    return parts


def _pscore_table(document: Scores, comparisons: Sequence[CandidateComparison]) -> str:
    columns = ["model", "against", f"{text.score_columns(document)[-1]}, difference", "d_z", "p", "verdict"]
    rows = [[_escape(one.a), _escape(one.b), *text.comparison_cells(document, one)] for one in comparisons]
    return _table([*columns, "judges in the same direction", "at equal length", "personas"], rows, names=2)


def _task_table(document: Scores, comparisons: Sequence[CandidateComparison]) -> str:
    rows = [[_escape(one.a), _escape(one.b), *text.task_cells(one)] for one in comparisons]
    return _table(["model", "against", *text.score_columns(document)[:-1]], rows, names=2)


def _judges_section(document: Scores) -> list[str]:
    """Return what the judge check found about each judge, and how often it had to be asked again."""
    kinds = list(dict.fromkeys(kind for judge in document.judges if judge.check for kind in judge.check.by_kind))
    rows = []
    for judge in document.judges:
        cells = ["not checked", *[text.NONE] * (len(kinds) + 3)]
        if check := judge.check:
            interval = text.number_range(check.low, check.high)
            cells = [f"{text.number(check.right, '.0%')} {interval}".strip()]
            cells += [text.number(check.by_kind[kind], ".0%") for kind in kinds]
            cells += [text.number(check.filler, "+z.2f"), text.number(check.attack, "+z.2f")]
            cells.append(text.number(check.paraphrase, ".2f"))
        rows.append([_escape(judge.name), *cells, f"{judge.re_asked:,}"])
    note = (
        f"Pairs of the judge check that a judge's {document.ranked_by} scores order right, overall and by kind; in "
        "adjacent pairs a 5 stands against a 4. Filler, attack: how much filler, and words that ask for a 5, raise a "
        "score; paraphrase: how much other words change it. A verdict that was asked for again is a draw at a "
        "temperature of at least 0.5."
    )
    head = ["judge", "right", *kinds, "filler", "attack", "paraphrase", "asked again"]
    return ["## Judges", note, _table(head, rows)]


def _near_top(document: Scores) -> list[str]:
    rows = [
        [_escape(one.name), *(text.below_top_cell(one.scores.tasks[task]) for task in document.tasks)]
        for one in document.candidates
    ]
    if all(cell == text.NONE for row in rows for cell in row[1:]):
        return []
    note = (
        "Personas with an answer below 5 and the 95 % interval of their share, where they are at most a quarter: near "
        "the top of the scale they say more than a mean."
    )
    return ["## Near the top of the scale", note, _table(["model", *text.score_columns(document)[:-1]], rows)]


def _agreement(document: Scores) -> list[str]:
    rows = []
    for task, one in document.agreement.items():
        alpha = f"{text.number(one.alpha, '.2f')} {text.number_range(one.alpha_low, one.alpha_high)}".rstrip()
        same = f"{text.number(one.same_order, '.2f')} {text.number_range(one.same_order_low, one.same_order_high)}"
        rows.append([text.task_label(document, task), alpha, same.rstrip(), f"{one.pairs:,}"])
    parts = ["## Agreement", _escape(text.agreement_text(document))]
    if not rows:
        return parts
    note = (
        "Alpha is blank with fewer than 20 scores off the most frequent, and low near the top of the scale. Same "
        "order: of the pairs of candidates on one question that two judges both tell apart, the share that they order "
        "alike."
    )
    return [*parts, note, _table(["task", "alpha", "same order", "pairs"], rows)]


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
    head = ["model", "weights", "revision", "asked", "answered", "without answer", "truncated", "words", "unjudged"]
    return ["## Answers", _table([*head, "score and length, rho"], rows, names=3)]

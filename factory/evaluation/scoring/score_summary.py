"""The scores for the terminal: a table, and notes on them in sentences."""

from rich.table import Table as Grid
from rich.text import Text

from factory.evaluation.scoring import score_text as text
from factory.evaluation.scoring.scores_schema import CandidateComparison, CandidateScores, Scores

MAX_COMPARISONS = 12
"""Comparisons in the terminal; the page has the others."""


def score_grid(document: Scores) -> Grid:
    """Return the scores by each judge and by the mean of all, for a terminal of 140 columns."""
    grid = Grid(title="Scores", title_justify="left", box=None, padding=(0, 2, 0, 0))
    grid.caption, grid.caption_justify = f"{text.legend(document)}.", "left"
    grid.add_column("rank", no_wrap=True)
    grid.add_column("model", overflow="fold")
    grid.add_column("judge", overflow="fold")
    for name in [*text.score_columns(document), "judged", "failed"]:
        grid.add_column(name, justify="right", no_wrap=True)
    for candidate in text.by_rank(document):
        by = dict(candidate.by_judge) | ({"mean": candidate.scores} if len(document.judges) > 1 else {})
        for place, (judge, scores) in enumerate(by.items()):
            cells = [text.score_cell(scores.tasks[task], scores, interval=False) for task in document.tasks]
            row = [candidate.name, judge, *cells, text.score_cell(scores.pscore, scores)]
            row = ["" if place else text.rank_text(candidate.rank), *row, f"{scores.judged:,}", f"{scores.failed:,}"]
            grid.add_row(*map(Text, row))  # a name may hold [brackets]
    return grid


def score_notes(document: Scores) -> list[str]:
    """Return notes on the scores, a sentence each: failures, agreement, comparisons, warnings."""
    notes = [note for candidate in document.candidates for note in _candidate_notes(document, candidate)]
    notes += [missing] if (missing := text.missing_examples(document)) else []
    notes.append(text.agreement_text(document))
    notes += [_comparison_text(document, one) for one in document.comparisons[:MAX_COMPARISONS]]
    if more := len(document.comparisons[MAX_COMPARISONS:]):
        notes.append(f"{more:,} more comparisons are on the page")
    notes += [text.findable_text(document.findable)] if document.findable else []
    notes += [f"General ability, {text.general_change_text(change)}" for change in document.general_changes]
    return notes + [f"Warning: {warning}" for warning in document.warnings]


def _candidate_notes(document: Scores, candidate: CandidateScores) -> list[str]:
    notes = []
    if candidate.answers_rejected:
        reasons = ", ".join(f"{reason} {count:,}" for reason, count in candidate.answers_rejected.items())
        answered = f"{candidate.answered:,} of {candidate.questions:,} answers can be used"
        notes.append(f"{candidate.name}: {answered}; {reasons}")
    for judge, scores in candidate.by_judge.items():
        if scores.failed or scores.marked:
            failed = f"{scores.failed:,} judgments ({scores.failure_share:.1%}) failed"
            mark = f"; {text.MARK} {text.FOOTNOTES[text.MARK]}" if scores.marked else ""
            notes.append(f"{candidate.name} by {judge}: {failed}{mark}")
    if candidate.scores.blank:
        lacking = f"{candidate.scores.unscored_share:.1%} of its scores are missing"
        notes.append(f"{candidate.name}: {lacking}, more than evaluation.max_unscored, so it has no rank")
    return notes


def _comparison_text(document: Scores, comparison: CandidateComparison) -> str:
    difference, effect, p, verdict, judges, _, personas = text.comparison_cells(document, comparison)
    tasks = [
        f"{text.task_label(document, result.task)} {cell.strip('*')}"
        for result, cell in zip(comparison.results, text.task_cells(comparison), strict=False)
        if cell.startswith("*")
    ]
    overall = f"{text.task_label(document, comparison.results[-1].task)} {difference}, {verdict.strip('*')}"
    return (
        f"{comparison.a} against {comparison.b}: {overall} (p {p}, d_z {effect}, {personas} personas, the same "
        f"direction by {judges} judges); tasks that differ: {', '.join(tasks) or 'none shown'}"
    )

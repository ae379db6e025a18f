"""The scores for the terminal: a table, and notes on them in sentences."""

from rich.table import Table as Grid
from rich.text import Text

from factory.evaluation.scoring import score_text as text
from factory.evaluation.scoring.scores_schema import MEAN, CandidateComparison, CandidateScores, Scores
from factory.evaluation.scoring.statistics import PSCORE


def score_grid(document: Scores) -> Grid:
    """Return the scores by each judge and by the mean of all, for a terminal of 140 columns."""
    grid = Grid(title="Scores", title_justify="left", box=None, padding=(0, 2, 0, 0))
    grid.caption, grid.caption_justify = f"{text.legend(document)}.", "left"
    grid.add_column("model", overflow="fold")
    grid.add_column("judge", overflow="fold")
    for name in [*text.score_columns(document), "judged", "failed"]:
        grid.add_column(name, justify="right", no_wrap=True)
    for candidate in document.candidates:
        by = dict(candidate.by_judge) | ({"mean": candidate.scores} if len(document.judges) > 1 else {})
        for judge, scores in by.items():
            cells = [text.score_cell(scores.tasks[task], scores.marked, interval=False) for task in document.tasks]
            row = [candidate.name, judge, *cells, text.score_cell(scores.pscore, scores.marked)]
            row += [f"{scores.judged:,}", f"{scores.failed:,}"]
            grid.add_row(*map(Text, row))  # a name may hold [brackets]
    return grid


def score_notes(document: Scores) -> list[str]:
    """Return notes on the scores, a sentence each: failures, agreement, comparisons, warnings."""
    notes = [note for candidate in document.candidates for note in _candidate_notes(document, candidate)]
    notes += [missing] if (missing := text.missing_examples(document)) else []
    notes.append(text.agreement_text(document))
    notes += [_comparison_text(document, comparison) for comparison in document.comparisons]
    notes += [f"General ability, {text.general_change_text(change)}" for change in document.general_changes]
    return notes + [f"Warning: {warning}" for warning in document.warnings]


def _candidate_notes(document: Scores, candidate: CandidateScores) -> list[str]:
    notes = []
    if candidate.answers_rejected:
        reasons = ", ".join(f"{reason} {count:,}" for reason, count in candidate.answers_rejected.items())
        answered = f"{candidate.answered:,} of {candidate.questions:,} questions have an answer"
        notes.append(f"{candidate.name}: {answered}; {reasons}")
    for judge, scores in candidate.by_judge.items():
        if scores.failed or scores.marked:
            failed = f"{scores.failed:,} judgments ({scores.failure_share:.1%}) failed"
            notes.append(f"{candidate.name} by {judge}: {failed}{f'; {text.FOOTNOTE}' if scores.marked else ''}")
        if scores.pscore.personas < document.benchmark.personas:
            complete = f"{scores.pscore.personas:,} of {document.benchmark.personas:,} personas"
            notes.append(f"{candidate.name} by {judge}: only {complete} have a score in all tasks, and so a PScore")
    return notes


def _comparison_text(document: Scores, comparison: CandidateComparison) -> str:
    judge = "the mean of the judges" if comparison.judge == MEAN else comparison.judge
    overall, tasks = "", []
    for result in comparison.results:
        name, difference, effect, p, p_holm, personas, _ = text.difference_cells(document, result)
        if result.task == PSCORE:
            verdict = "significant" if result.significant else "not significant"
            overall = f"{name} {difference}, {verdict} (p {p}, d_z {effect}, {personas} personas)"
        elif result.significant:
            tasks.append(f"{name} {difference} (Holm p {p_holm})")
    return (
        f"{comparison.a} against {comparison.b}, by {judge}: {overall}; significant tasks: {', '.join(tasks) or 'none'}"
    )

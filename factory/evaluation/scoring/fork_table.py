"""The scores of parity with the paper, as its runner counts them and as we do, from the same replies."""

from collections.abc import Iterator

from factory.evaluation.scoring import score_text as text
from factory.evaluation.scoring.markdown import escape, markdown_table
from factory.evaluation.scoring.pscore import PSCORE
from factory.evaluation.scoring.scores_schema import Scores


def fork_section(document: Scores) -> list[str]:
    """Return the section of a leaderboard; nothing without parity."""
    rows = [[escape(name), escape(judge), *cells] for name, judge, *cells in fork_rows(document)]
    if not rows:
        return []
    head = ["model", "judge", "counted as", *text.score_columns(document), "zeros"]
    note = (
        "Both rows of a model are from the same replies. The paper's runner counts a call of the judge that failed, "
        "was refused or cannot be read as 0, and any whole number as a score; the last column has the share of such "
        "calls. Ours are missing there, and only 1 to 5 are scores."
    )
    return ["## As the paper's runner counts", markdown_table(head, rows, names=3), note]


def fork_rows(document: Scores) -> list[list[str]]:
    """Return two rows of cells for each candidate and judge: as the runner counts, and ours."""
    return [row for candidate in document.fork_counts for row in _rows_of(document, candidate)]


def _rows_of(document: Scores, name: str) -> Iterator[list[str]]:
    (candidate,) = (one for one in document.candidates if one.name == name)
    for judge, counted in document.fork_counts[name].items():
        of_runner = (counted.scores[task] for task in [*document.tasks, PSCORE])
        cells = [text.mean_and_std(one.mean or 0.0, one.std) for one in of_runner]
        yield [name, judge, "its runner", *cells, f"{counted.zeros / counted.calls:.1%}"]
        ours = candidate.by_judge[judge]
        own = [text.score_cell(one, ours, interval=False) for one in [*ours.tasks.values(), ours.pscore]]
        yield [name, judge, "ours", *own, ""]

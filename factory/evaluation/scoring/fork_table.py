"""The scores of parity with the paper, as its runner counts them and as we do, from the same replies."""

from factory.evaluation.scoring import score_text as text
from factory.evaluation.scoring.markdown import escape, markdown_table
from factory.evaluation.scoring.pscore import PSCORE
from factory.evaluation.scoring.scores_schema import Scores


def fork_section(document: Scores) -> list[str]:
    """Return the section of a leaderboard; nothing without parity."""
    if not document.fork_counts:
        return []
    scores = [*document.tasks, PSCORE]
    rows = []
    for candidate in document.candidates:
        for judge, counted in document.fork_counts[candidate.name].items():
            names = [escape(candidate.name), escape(judge)]
            cells = [text.mean_and_std(counted.scores[task].mean or 0.0, counted.scores[task].std) for task in scores]
            rows.append([*names, "its runner", *cells, f"{counted.zeros / counted.calls:.1%}"])
            ours = candidate.by_judge[judge]
            own = [text.score_cell(one, ours, interval=False) for one in [*ours.tasks.values(), ours.pscore]]
            rows.append([*names, "ours", *own, ""])
    head = ["model", "judge", "counted as", *text.score_columns(document), "zeros"]
    note = (
        "Both rows of a model are from the same replies. The paper's runner counts a call of the judge that failed, "
        "was refused or cannot be read as 0, and any whole number as a score; the last column has the share of such "
        "calls. Ours are missing there, and only 1 to 5 are scores."
    )
    return ["## As the paper's runner counts", markdown_table(head, rows, names=3), note]

"""Scores by stratum as tables: a row per model, a column per value, a table per trait."""

from collections.abc import Iterator
from itertools import groupby
from operator import attrgetter

from factory.evaluation.scoring import score_text as text
from factory.evaluation.scoring.markdown import escape, markdown_table
from factory.evaluation.scoring.scores_schema import Scores, TaskScore

NOTE = (
    "By stratum of the personas. Differences between columns are not tested: an interval that holds for each by itself "
    "does not hold for the lowest of many."
)


def stratum_tables(document: Scores) -> Iterator[tuple[str, list[str], list[list[str]]]]:
    """Yield a trait, its columns with the number of personas, and a row of PScores for each model by rank."""
    for trait, group in groupby(document.strata, key=attrgetter("trait")):
        strata = list(group)
        columns = [f"{one.value} ({one.personas:,})" for one in strata]
        names = [candidate.name for candidate in text.by_rank(document)]
        yield trait, columns, [[name, *(_cell(one.pscores.get(name)) for one in strata)] for name in names]


def stratum_section(document: Scores) -> list[str]:
    """Return the tables as parts of the Markdown page."""
    parts = []
    for trait, columns, rows in stratum_tables(document):
        table = markdown_table(["model", *map(escape, columns)], [[escape(row[0]), *row[1:]] for row in rows])
        parts += [f"### {escape(trait)}", table]
    marks = [f"{text.FEW} {text.FOOTNOTES[text.FEW]}"] if any(text.FEW in part for part in parts) else []
    return [f"## {text.score_columns(document)[-1]} by stratum", NOTE, *parts, *marks] if parts else []


def _cell(score: TaskScore | None) -> str:
    if score is None or score.mean is None:
        return text.NONE
    few = text.FEW * score.too_few
    return f"{text.mean_and_std(score.mean, score.std)}{few} {text.number_range(score.low, score.high)}".rstrip()

"""The candidates answer by answer against the baseline: wins and losses, and the answers that changed most."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from factory.errors import UserError
from factory.lineage.comparison import AnswerComparison, ChangedAnswer, PersonaOutcome, Side, compare
from factory.report.excerpts import Mask, excerpt
from factory.run_output.folder import RunFolder

MAX_PAIRS = 6
"""Candidates that are compared on the page; `compare` shows any other pair."""
SHOWN = 3
"""Personas and answers of each direction."""


def changed_data(folder: RunFolder, shown_scores: Mapping[str, Any], mask: Mask) -> list[dict[str, Any]]:
    """Return the first candidates by rank, each against the baseline.

    Args:
        folder: the run's folder.
        shown_scores: what `score_data` returned.
        mask: masks personal data.
    """
    pairs: list[dict[str, Any]] = []
    if not (baseline := shown_scores.get("baseline")):
        return pairs
    names = [one["name"] for one in shown_scores["candidates"] if one["name"] != baseline]
    for name in names[:MAX_PAIRS]:
        try:
            found = compare(Side(folder.output, name), Side(folder.output, baseline), SHOWN)
        except UserError as problem:
            folder.note(f"comparison of {name} with {baseline}: {problem}")
        else:
            pairs.append(_shown(found, mask))
    return pairs


def _shown(found: AnswerComparison, mask: Mask) -> dict[str, Any]:
    rows = {"all": found.overall, **found.tasks}
    return {
        "a": found.a.candidate,
        "b": found.b.candidate,
        "tasks": [{"task": name, **asdict(outcome)} for name, outcome in rows.items()],
        "personas": [_persona(one, mask) for one in (*found.best, *reversed(found.worst))],
        "answers": [_answer(one, mask) for one in (*found.gained, *found.lost)],
    }


def _persona(one: PersonaOutcome, mask: Mask) -> dict[str, Any]:
    return {"persona": excerpt(one.persona, mask), "difference": one.outcome.difference}


def _answer(one: ChangedAnswer, mask: Mask) -> dict[str, Any]:
    texts = {name: excerpt(getattr(one, name), mask) for name in ("persona", "question", "answer_a", "answer_b")}
    return asdict(one) | texts

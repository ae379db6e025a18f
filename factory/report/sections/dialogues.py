"""Sampled dialogues as the browser shows them: both strategies beside the reference, and what was rejected."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from factory.config import PERSONAL_DATA
from factory.report.gather import Case, Sample

LEFT_OUT = "left out by curation"
KEPT = "kept by curation"
HIDDEN = "not shown: curation found personal data in this dialogue"
STATUSES = ("accepted", "rejected", KEPT, LEFT_OUT)


def shown_cases(sample: Sample, language_of: Callable[[str], str]) -> list[dict[str, Any]]:
    """A case a row: its turns, each with the reference and each strategy's reply.

    Args:
        sample: what was read.
        language_of: tells which language a text is in.
    """
    places = {character: place for place, character in enumerate(sample.characters)}
    cases = [_case(sample, case, places, language_of) for case in sample.cases]
    return sorted(cases, key=lambda one: (one["corpus"], one["character"] is None, one["character"], one["id"]))


def _case(sample: Sample, case: Case, places: Mapping[str, int], language_of: Callable[[str], str]) -> dict[str, Any]:
    reference = sample.references.get((case.corpus, case.instruction))
    sides = {name: _side(row, sample.verdicts) for name, row in sorted(case.dialogues.items())}
    users = _said(reference["messages"], "user") if reference else []
    for row in case.dialogues.values():
        users = users or _said(row["messages"], "user")
    given = _said(reference["messages"], "assistant") if reference else []
    if any(side["curation_reason"] == PERSONAL_DATA for side in sides.values()):
        users, given = [HIDDEN] * len(users), [HIDDEN] * len(given)
    spoken = [reply for side in sides.values() for reply in side["replies"] if reply != HIDDEN]
    return {
        "id": case.instruction,
        "corpus": case.corpus,
        "character": places.get(case.character),
        "character_id": case.character,
        "users": users,
        "reference": given,
        "sides": sides,
        "language": language_of("\n".join(spoken)) if spoken else "",
    }


def _said(messages: Any, role: str) -> list[str]:
    return [one["content"] for one in messages or [] if one.get("role") == role and one.get("content")]


def _side(row: Mapping[str, Any], verdicts: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    accepted = row["status"] == "ok"
    verdict = verdicts.get(row["dialogue_id"] or "")
    statuses = ["accepted" if accepted else "rejected"]
    if verdict is not None:
        statuses.append(KEPT if verdict["status"] == "ok" else LEFT_OUT)
    replies = _said(row["messages"], "assistant") if accepted else []
    hidden = verdict is not None and verdict["reason"] == PERSONAL_DATA
    return {
        "id": row["dialogue_id"],
        "replies": [HIDDEN] * len(replies) if hidden else replies,
        "statuses": statuses,
        "reason": row["reason"],
        "raw": None if accepted else row["detail"],
        "split": verdict["split"] if verdict else None,
        "curation_reason": verdict["reason"] if verdict else None,
        "model": row["model"],
        "prompt": row["prompt"],
        "tokens": [row["prompt_tokens"], row["output_tokens"]],
    }


def shown_rejects(rejected: Sequence[tuple[str, Mapping[str, Any]]]) -> list[dict[str, Any]]:
    """Rejected rows of all tables, each with its reason and raw text."""
    ids = ("character_id", "dialogue_id", "question_id", "item_id")
    return [
        {
            "table": table,
            "id": next((row[name] for name in ids if row.get(name)), None),
            "reason": row["reason"] or "no reason",
            "model": row["model"],
            "raw": row["detail"] or "",
        }
        for table, row in rejected
    ]

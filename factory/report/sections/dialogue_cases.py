"""Sampled dialogues as the browser shows them: each strategy and the reference, and what was rejected."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from factory.config import PERSONAL_DATA
from factory.report.gather import DialogueCase, ReportSample

LEFT_OUT = "left out by curation"
KEPT = "kept by curation"
HIDDEN = "not shown: curation found personal data in this dialogue"
STATUS_ORDER = (KEPT, "accepted", LEFT_OUT, "rejected")
"""The order of cases on the page, by the statuses of their dialogues."""


def case_rows(sample: ReportSample, language_of: Callable[[str], str]) -> list[dict[str, Any]]:
    """Return a row per case: its turns with the reference and each strategy's reply.

    Kept dialogues come first, and of these the ones of given characters.

    Args:
        sample: the rows read.
        language_of: returns the language of a text.
    """
    numbers = {character: number for number, character in enumerate(sample.characters)}
    cases = [_case_row(sample, case, numbers, language_of) for case in sample.cases]
    return sorted(
        cases,
        key=lambda case: (
            _status_ranks(case),
            sample.characters.get(case["character_id"], {}).get("origin") != "given",
            case["corpus"],
            case["character"] is None,
            case["character"],
            case["id"],
        ),
    )


def _status_ranks(case: Mapping[str, Any]) -> list[int]:
    return sorted(STATUS_ORDER.index(side["statuses"][-1]) for side in case["sides"].values())


def _case_row(
    sample: ReportSample, case: DialogueCase, numbers: Mapping[str, int], language_of: Callable[[str], str]
) -> dict[str, Any]:
    reference = sample.references.get((case.corpus, case.instruction))
    sides = {name: _side(row, sample.verdicts) for name, row in sorted(case.dialogues.items())}
    users = _contents(reference["messages"], "user") if reference else []
    for row in case.dialogues.values():
        users = users or _contents(row["messages"], "user")
    replies = _contents(reference["messages"], "assistant") if reference else []
    if any(side["curation_reason"] == PERSONAL_DATA for side in sides.values()):
        users, replies = [HIDDEN] * len(users), [HIDDEN] * len(replies)
    shown = [reply for side in sides.values() for reply in side["replies"] if reply != HIDDEN]
    return {
        "id": case.instruction,
        "corpus": case.corpus,
        "character": numbers.get(case.character),
        "character_id": case.character,
        "users": users,
        "reference": replies,
        "sides": sides,
        "language": language_of("\n".join(shown)) if shown else "",
    }


def _contents(messages: Any, role: str) -> list[str]:
    return [turn["content"] for turn in messages or [] if turn.get("role") == role and turn.get("content")]


def _side(row: Mapping[str, Any], verdicts: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    accepted = row["status"] == "ok"
    verdict = verdicts.get(row["dialogue_id"] or "")
    statuses = ["accepted" if accepted else "rejected"]
    if verdict is not None:
        statuses.append(KEPT if verdict["status"] == "ok" else LEFT_OUT)
    replies = _contents(row["messages"], "assistant") if accepted else []
    hidden = verdict is not None and verdict["reason"] == PERSONAL_DATA
    return {
        "id": row["dialogue_id"],
        "replies": [HIDDEN] * len(replies) if hidden else replies,
        "thoughts": [] if hidden else _thoughts(row),
        "statuses": statuses,
        "reason": row["reason"],
        "raw": None if accepted else row["detail"],
        "split": verdict["split"] if verdict else None,
        "curation_reason": verdict["reason"] if verdict else None,
        "model": row["model"],
        "prompt": row["prompt"],
        "tokens": [row["prompt_tokens"], row["output_tokens"]],
    }


def _thoughts(row: Mapping[str, Any]) -> list[str]:
    """Return the thoughts before each reply; of a rejected row, which has no replies, as one text."""
    thoughts = row["thoughts"] or []
    return thoughts if row["status"] == "ok" else ["\n\n".join(filter(None, thoughts))]


def rejected_rows(rejected: Sequence[tuple[str, Mapping[str, Any]]]) -> list[dict[str, Any]]:
    """Return the rejected rows of all tables, each with its reason and raw text."""
    ids = ("character_id", "dialogue_id", "question_id", "item_id")
    return [
        {
            "table": table,
            "id": next((row[name] for name in ids if row.get(name)), None),
            "reason": row["reason"] or "no reason",
            "model": row["model"],
            "raw": row["detail"] or "",
            "thoughts": "\n\n".join(filter(None, row["thoughts"] or [])),
        }
        for table, row in rejected
    ]

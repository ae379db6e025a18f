"""Finds verdicts in the form of an object, `{"reasoning": ..., "score": 4}`, also where a judge spoiled its JSON."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

MAX_FORMS = 20
MAX_DEPTH = 3

_OPEN = re.compile(r"\{\s{0,20}[\"']")
_REASONS = re.compile(r"[\"'](?:reason\w{0,9}|rationale|explanation|justification)[\"']\s{0,9}:", re.IGNORECASE)
_SCORES = re.compile(r"[\"'](?:final_)?score[\"']\s{0,9}:", re.IGNORECASE)
_SPOILED = re.compile(
    r"\{\s{0,20}[\"']\w{1,20}[\"']\s{0,9}:\s{0,9}(?P<mark>[\"'])(?P<reasoning>.{0,50000})(?P=mark)\s{0,9},\s{0,9}"
    r"[\"']\w{1,20}[\"']\s{0,9}:\s{0,9}(?P<score>\"[^\"\n]{1,20}\"|'[^'\n]{1,20}'|[^\s,}\"']{1,20})\s{0,9},?\s{0,9}"
    r"(?:\}|\Z)",
    re.IGNORECASE | re.DOTALL,
)
_DECODER = json.JSONDecoder(strict=False, object_pairs_hook=lambda pairs: _each_key_once(pairs))


@dataclass(frozen=True)
class Form:
    """A verdict as it stands in a reply; `score` is whatever the judge wrote there."""

    reasoning: str
    score: Any
    start: int
    end: int


def find_forms(text: str) -> list[Form] | None:
    """Return the verdicts of a reply, in order; None if an object of it cannot be read.

    Objects within a spoiled one are ignored: a judge may quote one from the answer, and it would count as the verdict.
    """
    forms: list[Form] = []
    at = 0
    for _ in range(MAX_FORMS):
        opened = _OPEN.search(text, at)
        if opened is None:
            return forms
        try:
            # Not strict: without guidance models leave line breaks in strings as they are.
            found, at = _DECODER.raw_decode(text, opened.start())
        except (ValueError, RecursionError):  # a small model writes `{"a":{"a":...` to the limit
            spoiled = _spoiled_form(text) if not forms else None
            return [spoiled] if spoiled else None
        forms += [Form(*verdict, opened.start(), at) for verdict in _verdicts(found, MAX_DEPTH)]
    return None


def _verdicts(found: Any, depth: int) -> Iterator[tuple[str, Any]]:
    """Yield reasoning and score of an object, or of those within it."""
    if not isinstance(found, dict) or not depth:
        return
    reasoning = None
    for key, value in found.items():
        if key.casefold() in ("score", "final_score"):
            yield (
                reasoning or "",
                value if reasoning is not None else None,
            )  # a score before its reasons is not based on them
            return
        if isinstance(value, list) and value and all(isinstance(part, str) for part in value):
            reasoning = "\n".join(value)
        elif isinstance(value, str):
            reasoning = value
    for value in found.values():
        yield from _verdicts(value, depth - 1)


def _spoiled_form(text: str) -> Form | None:
    """Return the only verdict of a reply with wrong quotation marks, a comma too many, or no last brace."""
    if len(_REASONS.findall(text)) != 1 or len(_SCORES.findall(text)) != 1:
        return None
    found = _SPOILED.search(text)
    return Form(found["reasoning"], found["score"].strip("\"'"), found.start(), found.end()) if found else None


def _each_key_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    unique = dict(pairs)
    if len(unique) < len(pairs):  # of two scores the last would count
        raise ValueError("duplicate key")
    return unique

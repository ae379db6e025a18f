"""CPU time of the rules that compare replies with requests and references, and of those for profiles."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from factory.config import Quality
from factory.curation.rules.context import DialogueContext
from factory.inference.prompts import load_prompt
from factory.records import Message, ProfileFields
from factory.synthesis.profile_rules.long_items import prompt_ngrams
from factory.synthesis.profile_rules.profile_check import broken_rules
from factory.synthesis.profiles import prompt_text
from factory.text import content
from factory.text.ngrams import word_hashes

TESTS = Path(__file__).parents[1]
RULES = ("echoes_request", "only_question", "lost_numbers", "lost_code", "lost_names", "lost_substance")
ROUNDS = 5


def measure() -> dict[str, float]:
    """Return milliseconds per reply of each rule, on rewrites that keep it, and per profile of all its rules."""
    rows = _rows("replies/rewrites.jsonl")
    quality = Quality().rules
    figures = {f"{name}_ms": _milliseconds(rows, lambda row, name=name: _apply(quality[name], row)) for name in RULES}
    prompt = prompt_ngrams(prompt_text(load_prompt("profile")))

    def check(row: dict[str, Any]) -> None:
        list(
            broken_rules(
                {name: row[name] for name in ProfileFields.model_fields}, row["persona"], row["language"], prompt
            )
        )

    return figures | {"profile_rules_ms": _milliseconds(_rows("profiles/good.jsonl"), check)}


def _rows(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (TESTS / name).read_text().splitlines()]


def _apply(rule: Any, row: dict[str, Any]) -> None:
    messages = (Message("user", row["user"]), Message("assistant", row["rewrite"]))
    rule.find(DialogueContext(messages, "a baker", "Name: Ada", (row["reference"],)))


def _milliseconds(rows: list[dict[str, Any]], check: Callable[[dict[str, Any]], None]) -> float:
    for row in rows:  # loads the languages
        check(row)
    before = time.process_time()
    for _ in range(ROUNDS):
        for row in rows:
            word_hashes.cache_clear()
            content.names.cache_clear()
            check(row)
    return (time.process_time() - before) * 1000 / ROUNDS / len(rows)

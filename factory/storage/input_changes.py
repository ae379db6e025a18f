"""Explains in one line which inputs of a table changed."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from factory.text.redaction import redact_secrets

MAX_CHANGES = 5
"""How many changed settings to list when a table is rebuilt."""
MAX_VALUE_CHARACTERS = 60


def explain_changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """List the settings that differ, with both values and without secrets."""
    old, new = (dict(_leaves("", json.loads(json.dumps(redact_secrets(inputs))))) for inputs in (before, now))
    changes = [
        f"{name} was {_short(old.get(name))} and is {_short(new.get(name))}"
        for name in {**new, **old}
        if old.get(name) != new.get(name)
    ]
    more = len(changes) - MAX_CHANGES
    return ", ".join(changes[:MAX_CHANGES] + ([f"{more} more differ"] if more > 0 else []))


def _leaves(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _leaves(f"{name}.{key}" if name else key, inner)
    else:
        yield name, value


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= MAX_VALUE_CHARACTERS else f"{text[: MAX_VALUE_CHARACTERS - 4]} ..."

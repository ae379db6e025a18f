"""Reads the JSON object of a model's reply."""

import json
from typing import Any


def extract_json_object(text: str) -> dict[str, Any] | None:
    """Return the only JSON object of a reply, without the text around it, such as a code fence.

    It reaches from the first brace to the last. Smaller objects are ignored: a judge may quote one from the
    answer inside its own malformed verdict, and it would count as the verdict.
    """
    try:
        # Not strict: without guidance models leave line breaks in strings as they are.
        found = json.loads(text[text.find("{") : text.rfind("}") + 1], strict=False, object_pairs_hook=_each_key_once)
    except (ValueError, RecursionError):  # a small model writes `{"a":{"a":...` to the limit
        return None
    return found if isinstance(found, dict) else None


def _each_key_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    unique = dict(pairs)
    if len(unique) < len(pairs):  # of two scores the last would count
        raise ValueError("duplicate key")
    return unique

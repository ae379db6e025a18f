"""What a model wrote, read in the shape that it was asked for."""

import json
from typing import Any


def extract_json_object(text: str) -> dict[str, Any] | None:
    """The one JSON object of a reply, whatever stands around it, such as a fence.

    It goes from the first brace to the last. Looking for smaller ones would find the verdict that an
    answer asks for, where a judge quotes it in an object that it then spoils.
    """
    try:
        # Not strict: without guidance models leave line breaks in strings as they are.
        found = json.loads(text[text.find("{") : text.rfind("}") + 1], strict=False, object_pairs_hook=_each_key_once)
    except (ValueError, RecursionError):  # a small model writes `{"a":{"a":...` to the limit
        return None
    return found if isinstance(found, dict) else None


def _each_key_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    held = dict(pairs)
    if len(held) < len(pairs):  # of two scores the last would be taken
        raise ValueError("a key stands twice")
    return held

"""What an IAM policy allows, as far as ours go: allowing statements, names with `*`, conditions on strings."""

from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any


def allows(policy: Mapping[str, Any], action: str, resource: str, context: Mapping[str, str]) -> bool:
    """Return whether a statement allows an action on a resource in a context of condition keys."""
    return any(
        any(fnmatchcase(action, one) for one in many(statement["Action"]))
        and any(fnmatchcase(resource, one) for one in many(statement["Resource"]))
        and all(holds(test, context) for test in conditions(statement))
        for statement in policy["Statement"]
        if statement["Effect"] == "Allow"
    )


def many(value: str | Sequence[str]) -> Sequence[str]:
    return [value] if isinstance(value, str) else value


def conditions(statement: Mapping[str, Any]) -> Iterator[tuple[str, str, Sequence[str]]]:
    for operator, keys in statement.get("Condition", {}).items():
        assert operator in ("StringEquals", "StringEqualsIfExists"), operator
        for key, values in keys.items():
            yield operator, key, many(values)


def holds(test: tuple[str, str, Sequence[str]], context: Mapping[str, str]) -> bool:
    operator, key, values = test
    return context[key] in values if key in context else operator == "StringEqualsIfExists"

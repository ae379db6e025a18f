"""Passwords and keys that a URL may hold are not shown, wherever the URL stands."""

import re
from typing import Any, TypeVar

HIDDEN = "…"
_PASSWORD = re.compile(
    # A colon without a port behind it begins a password. That may have `/` and `@` in it, though no URL allows them.
    r"://(?:[^\s/?#\"'<>\[\]:@]*:(?!\d{1,5}(?:[/?#\s\"'<>]|$))(?:(?!://)[^\s\"'<>])*|[^\s/?#\"'<>]*)@"
)
_QUERY = re.compile(r"([?&;#])([^\s=?&;#\"'<>]{1,100})=[^\s&;#\"'<>]+")
_SECRET = re.compile("key|token|sig|secret|password", re.IGNORECASE)

Data = TypeVar("Data")


def scrubbed(data: Data) -> Data:
    """The same texts, or dicts and lists of them, without user and password of URLs and secret values of queries."""
    return _scrubbed(data)  # type: ignore[no-any-return]


def _scrubbed(data: Any) -> Any:
    if isinstance(data, str):
        return _QUERY.sub(_without_secret, _PASSWORD.sub(f"://{HIDDEN}@", data))
    if isinstance(data, dict):
        return {key: _scrubbed(value) for key, value in data.items()}
    if isinstance(data, (list, tuple)):
        return [_scrubbed(value) for value in data]
    return data


def _without_secret(value: re.Match[str]) -> str:
    return f"{value[1]}{value[2]}={HIDDEN}" if _SECRET.search(value[2]) else value[0]

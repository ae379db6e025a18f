"""Passwords and keys are written nowhere: those in URLs, and those under a setting's name."""

import re
from collections.abc import Iterator
from typing import Any, TypeVar

HIDDEN = "…"
_PASSWORD = re.compile(
    # A colon without a port behind it begins a password. That may have `/` and `@` in it, though no URL allows them.
    r"://(?:[^\s/?#\"'<>\[\]:@]*:(?!\d{1,5}(?:[/?#\s\"'<>]|$))(?:(?!://)[^\s\"'<>])*|[^\s/?#\"'<>]*)@"
)
_QUERY = re.compile(r"([?&;#])([^\s=?&;#\"'<>]{1,100})=[^\s&;#\"'<>]+")
_SECRET = re.compile("key|token|sig|secret|password", re.IGNORECASE)

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_SECRET_NAME = re.compile(
    r"(?:^|_)(?:secrets?|passwords?|passwd|pwd|passphrase|credentials?|authorization|bearer"
    r"|(?:api|access|private|secret|signing|encryption|auth|account|ssh)_?keys?)(?:_|$)"
)
_OF_A_SECRET = {"arn", "env", "file", "id", "ids", "name", "path", "ref", "type", "uri", "url"}
"""Last words of names such as `api_key_env`, whose values say where a secret is."""
_IN_TEXTS = {
    "audio", "blank", "boi", "bos", "cls", "decoder", "draft", "end", "eoi", "eom", "eos", "eot", "fim", "first",
    "image", "input", "last", "mask", "newline", "next", "output", "pad", "pard", "per", "prompt", "sep", "sos",
    "special", "start", "stop", "str", "think", "to", "tool", "unk", "video", "vision",
}  # fmt: skip
"""What stands before `token` where it is a piece of text: names of vLLM's settings and of models' configs."""

Data = TypeVar("Data")


def redact_urls(data: Data) -> Data:
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


def redact_secrets(data: Data) -> Data:
    """Return settings without their secrets: texts under a secret's name, and what `scrubbed` leaves out."""
    return _redacted(data, hide=False)  # type: ignore[no-any-return]


def _redacted(data: Any, hide: bool) -> Any:
    if isinstance(data, dict):
        return {key: _redacted(value, hide or _names_secret(str(key))) for key, value in data.items()}
    if isinstance(data, (list, tuple)):
        return [_redacted(value, hide) for value in data]
    if isinstance(data, str):
        return HIDDEN if hide and data else _scrubbed(data)
    return data


def secrets_in(settings: Any, path: str = "") -> Iterator[str]:
    """Yield the path of each setting that is named as a secret and has a value."""
    if isinstance(settings, dict):
        for key, value in settings.items():
            place = f"{path}.{key}" if path else str(key)
            if _names_secret(str(key)) and value and not isinstance(value, bool):
                yield place
            else:
                yield from secrets_in(value, place)
    elif isinstance(settings, (list, tuple)):
        for number, value in enumerate(settings):
            yield from secrets_in(value, f"{path}.{number}")


def _names_secret(key: str) -> bool:
    words = [word.lower() for word in _WORD.findall(key)]
    if not words or words[-1] in _OF_A_SECRET:
        return False
    if words[-1] == "token":
        return len(words) == 1 or words[-2] not in _IN_TEXTS
    return bool(_SECRET_NAME.search("_".join(words)))

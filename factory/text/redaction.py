"""Redaction of passwords and keys, in URLs and in settings, before anything is written."""

import re
from collections.abc import Iterator
from typing import Any, TypeVar

HIDDEN = "…"
_PASSWORD = re.compile(
    # A colon without a port starts a password, which may contain `/` and `@`, although URLs do not allow them.
    r"://(?:[^\s/?#\"'<>\[\]:@]*:(?!\d{1,5}(?:[/?#\s\"'<>]|$))(?:(?!://)[^\s\"'<>])*|[^\s/?#\"'<>]*)@"
)
_QUERY = re.compile(r"([?&;#])([^\s=?&;#\"'<>]{1,100})=[^\s&;#\"'<>]+")
_SECRET = re.compile("key|token|sig|secret|password", re.IGNORECASE)

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_SECRET_NAME = re.compile(
    r"(?:^|_)(?:secrets?|passwords?|passwd|pwd|passphrase|credentials?|authorization|bearer"
    r"|(?:api|access|private|secret|signing|encryption|auth|account|ssh)_?keys?)(?:_|$)"
)
_ABOUT_SECRETS = {"arn", "env", "file", "id", "ids", "name", "path", "ref", "type", "uri", "url"}
"""Last words of names such as `api_key_env`, whose values only point to a secret."""
_TEXT_TOKENS = {
    "audio", "blank", "boi", "bos", "cls", "decoder", "draft", "end", "eoi", "eom", "eos", "eot", "fim", "first",
    "image", "input", "last", "mask", "newline", "next", "output", "pad", "pard", "per", "prompt", "sep", "sos",
    "special", "start", "stop", "str", "think", "to", "tool", "unk", "video", "vision",
}  # fmt: skip
"""Words before `token` where it means a piece of text, in vLLM's settings and models' configs."""

Data = TypeVar("Data")


def redact_urls(data: Data) -> Data:
    """Return texts, or dicts and lists of them, without user and password in URLs and secrets in queries."""
    return _redacted_urls(data)  # type: ignore[no-any-return]


def _redacted_urls(data: Any) -> Any:
    if isinstance(data, str):
        return _QUERY.sub(_without_secret, _PASSWORD.sub(f"://{HIDDEN}@", data))
    if isinstance(data, dict):
        return {key: _redacted_urls(value) for key, value in data.items()}
    if isinstance(data, (list, tuple)):
        return [_redacted_urls(value) for value in data]
    return data


def _without_secret(value: re.Match[str]) -> str:
    return f"{value[1]}{value[2]}={HIDDEN}" if _SECRET.search(value[2]) else value[0]


def redact_secrets(data: Data) -> Data:
    """Return settings without secrets: texts under the name of a secret, and secrets in URLs (`redact_urls`)."""
    return _redacted(data, hide=False)  # type: ignore[no-any-return]


def _redacted(data: Any, hide: bool) -> Any:
    if isinstance(data, dict):
        return {key: _redacted(value, hide or _names_secret(str(key))) for key, value in data.items()}
    if isinstance(data, (list, tuple)):
        return [_redacted(value, hide) for value in data]
    if isinstance(data, str):
        return HIDDEN if hide and data else _redacted_urls(data)
    return data


def find_secrets(settings: Any, path: str = "") -> Iterator[str]:
    """Yield the path of each setting that has the name of a secret and a value."""
    if isinstance(settings, dict):
        for key, value in settings.items():
            inner = f"{path}.{key}" if path else str(key)
            if _names_secret(str(key)) and value and not isinstance(value, bool):
                yield inner
            else:
                yield from find_secrets(value, inner)
    elif isinstance(settings, (list, tuple)):
        for number, value in enumerate(settings):
            yield from find_secrets(value, f"{path}.{number}")


def _names_secret(key: str) -> bool:
    words = [word.lower() for word in _WORD.findall(key)]
    if not words or words[-1] in _ABOUT_SECRETS:
        return False
    if words[-1] == "token":
        return len(words) == 1 or words[-2] not in _TEXT_TOKENS
    return bool(_SECRET_NAME.search("_".join(words)))

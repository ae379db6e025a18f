"""Decides whose failure an endpoint's error is: the request's own, or the endpoint's."""

import re
from typing import Any

from pydantic import SecretStr

from factory.config import OpenAIEngine
from factory.errors import ModelError, UnreachableError, UserError
from factory.inference.engines.endpoint_key import config_key, redact_key
from factory.inference.multi_turn import RowError
from factory.text.normalize import shorten
from factory.text.redaction import redact_urls

DETAIL_CHARACTERS = 4000
LONGEST_PAUSE_S = 120
"""The client waits for a Retry-After up to this long, and not at all for a longer one."""


def max_rounds(problem: Any) -> int:
    """Return how often a request may use up its retries: more than once if another request may be at fault."""
    status = getattr(problem, "status_code", 0)
    if status in (429, 503):
        return 10
    return 1 if 300 <= status < 500 and status not in (408, 409) else 2


def pause_seconds(problem: Any) -> float:
    """Return how long to wait if the client did not, because a busy endpoint asked for a longer pause."""
    retry_after = problem.response.headers.get("retry-after", "") if hasattr(problem, "response") else ""
    return LONGEST_PAUSE_S if retry_after.isdecimal() and float(retry_after) > LONGEST_PAUSE_S else 0


def row_error(key: SecretStr, problem: Any) -> RowError:
    """Return the error of a single row, with the endpoint's answer but without the key."""
    answer = redact_key(key, f"{problem} {problem.response.text if hasattr(problem, 'response') else ''}")
    patterns = {"too_long": "(context|model).length", "refused": "content_(filter|policy)"}
    found = [reason for reason, p in patterns.items() if max_rounds(problem) == 1 and re.search(p, answer)]
    return RowError([*found, "engine_error"][0], shorten(answer, DETAIL_CHARACTERS))


def run_error(engine: OpenAIEngine, key: SecretStr, problem: Any) -> UserError:
    """Return the error that ends the run: the endpoint is unreachable, or refuses what the config asks for."""
    section, answer = config_key(engine), " ".join(redact_key(key, str(problem))[:300].split())
    where = f"{section}.base_url {redact_urls(engine.base_url)}"
    if max_rounds(problem) > 1:
        return UnreachableError(f"{where}: does not answer ({answer}); once it does, the same command goes on")
    key_setting = f"${engine.api_key_env}" if engine.api_key_env else f"{section}.api_key_env"
    check = f"check it, {section}.model, {section}.structured, sampling and {key_setting}"
    return ModelError(f"{where}: refuses {engine.model!r} ({answer}); {check}")

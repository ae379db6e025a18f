"""Decides whose failure an endpoint's error is: the request's own, or the endpoint's."""

import email.utils
import re
import time
from typing import Any

from pydantic import SecretStr

from factory.config import OpenAIEngine
from factory.errors import ModelError, UnreachableError, UserError
from factory.inference.engines.endpoint_key import config_key, redact_key, sampling_key
from factory.inference.multi_turn import RowError
from factory.text.normalize import shorten
from factory.text.redaction import redact_urls

DETAIL_CHARACTERS = 4000
LONGEST_PAUSE_S = 120
"""The client waits for a Retry-After up to this long, and for a longer one no longer than that."""
FIRST_PAUSE_S, MOST_PAUSE_S = 0.5, 8.0
"""Pauses between attempts where the endpoint asks for none: doubled each time, and shortened by up to a quarter."""
BUSY = 429


def max_rounds(problem: Any) -> int:
    """Return how often a request may use up its retries: more than once if another request may be at fault."""
    status = getattr(problem, "status_code", 0)
    if _is_too_large(problem):
        return 1
    if status in (BUSY, 503):
        return 10
    return 1 if 300 <= status < 500 and status not in (408, 409) else 2


def is_temporary(problem: Any) -> bool:
    """Return whether the same request may be answered a little later."""
    status = getattr(problem, "status_code", None)
    return status is None or (status in (408, 409, BUSY) and not _is_too_large(problem)) or status >= 500


def _is_too_large(problem: Any) -> bool:
    """Return whether a request has more tokens than an endpoint takes per minute: it is refused for ever."""
    return getattr(problem, "status_code", 0) == BUSY and "request too large" in str(problem).lower()


def retry_after_s(problem: Any) -> float:
    """Return how long a busy endpoint asks to wait, up to `LONGEST_PAUSE_S`; 0 where it does not."""
    return min(_retry_after_s(problem), LONGEST_PAUSE_S)


def asks_for_longer(problem: Any) -> bool:
    """Return whether a busy endpoint asks for a longer pause than the client makes."""
    return _retry_after_s(problem) > LONGEST_PAUSE_S


def _retry_after_s(problem: Any) -> float:
    headers = problem.response.headers if hasattr(problem, "response") else {}
    for name, unit_s in (("retry-after-ms", 0.001), ("retry-after", 1)):
        try:
            return max(0.0, float(headers[name]) * unit_s)  # of NaN, max is the 0
        except (KeyError, ValueError):
            continue
    try:
        date = email.utils.parsedate_to_datetime(headers.get("retry-after", ""))
        return max(0.0, date.timestamp() - time.time())
    except (OverflowError, TypeError, ValueError):
        return 0.0


def pause_s(problem: Any, attempt: int, chance: float) -> float:
    """Return how long to wait before another attempt.

    Args:
        problem: why the attempt failed.
        attempt: its number, from 0.
        chance: a random number from 0 to 1, so that the requests of an outage do not all come back together.
    """
    backoff = min(MOST_PAUSE_S, FIRST_PAUSE_S * 2 ** min(attempt, 10)) * (1 - chance / 4)
    asked_s = retry_after_s(problem)
    if asked_s and getattr(problem, "status_code", 0) == BUSY:
        return 0  # the client's limits make this pause, for all of its requests
    return asked_s or backoff


def refusal_text(problem: Any) -> str:
    """Return the start of an endpoint's answer if it refuses a request as malformed; else nothing."""
    if not hasattr(problem, "response") or problem.response.status_code not in (400, 422):
        return ""
    return str(problem.response.text[:DETAIL_CHARACTERS])


def row_error(key: SecretStr, problem: Any) -> RowError:
    """Return the error of a single row, with the endpoint's answer but without the key."""
    answer = redact_key(key, f"{problem} {problem.response.text if hasattr(problem, 'response') else ''}")
    patterns = {"too_long": "(context|model).length|(?i:request) too large", "refused": "content_(filter|policy)"}
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
    return ModelError(f"{where}: refuses {engine.model!r} ({answer}); {_way_out(engine, problem) or check}")


def _way_out(engine: OpenAIEngine, problem: Any) -> str:
    """Return which setting to change, if a refusal names a parameter."""
    section, sampling = config_key(engine), sampling_key(engine)
    null = "set {0}: null in {1}" if section == "engine" else "give it not_sent: [{0}], or set {0}: null in {1}"
    ways = {
        **{name: null.format(name, sampling) for name in ("temperature", "top_p", "frequency_penalty")},
        "max_completion_tokens": f"set {section}.token_limit: max_tokens, or lower max_tokens in {sampling}",
        "max_tokens": f"set {section}.token_limit: max_completion_tokens, or lower max_tokens in {sampling}",
        "(top_)?logprobs": f"set {section}.logprobs: false",
        "response_format|json_schema": f"set {section}.structured: json_object, or none",
        **{re.escape(name): f"take {name} out of {section}.extra_body" for name in engine.extra_body},
    }
    answer, named = refusal_text(problem), str(getattr(problem, "param", ""))
    found = [way for name, way in ways.items() if re.fullmatch(name, named)]
    found += [way for name, way in ways.items() if re.search(rf"\b({name})\b", answer)]
    return found[0] if found else ""

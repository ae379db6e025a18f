"""Reads an endpoint's answer, of which nothing is trusted.

A text that cannot be used fails. Token counts and log-probabilities are left out if they are not
plausible: the reply is paid for.
"""

import json
from typing import Any

from factory.inference.engines.endpoint_errors import DETAIL_CHARACTERS
from factory.inference.multi_turn import NoReplyError, Reply
from factory.records import TokenChoice
from factory.text.normalize import shorten

ENDING_TOKENS = 12
"""The score of a verdict is within this many tokens of its end."""
MAX_TOKENS = 10**8
"""A higher count of tokens, of a reply or a prompt, is wrong: no context holds so many."""
CHARACTERS = 10_000
TOKEN_CHARACTERS = 100
"""A text may have this many characters per requested token, and `CHARACTERS` besides: long runs of spaces are one
token, and some endpoints exceed `max_tokens`."""
ROUNDING = 0.01
"""The logarithm of a probability may exceed 0 by this much."""


def parse_reply(answer: Any, max_tokens: int) -> Reply:
    """Return the reply of an endpoint's JSON answer.

    Raises:
        NoReplyError: a refusal, or no usable text.
        LookupError, TypeError, ValueError: the answer has another shape, as json and dicts raise them.
    """
    choice, usage = answer["choices"][0], as_object(answer.get("usage"))
    text, finish_reason = choice["message"].get("content"), choice.get("finish_reason")
    refusal = choice["message"].get("refusal") or (finish_reason == "content_filter" and (text or finish_reason))
    if refusal or finish_reason in ("error", "abort") or (text is None and finish_reason != "length"):
        detail = str(refusal or f"no reply: {json.dumps(choice)}")
        raise NoReplyError("refused" if refusal else "engine_error", shorten(detail, DETAIL_CHARACTERS))
    text = text or ""
    text.encode()  # fails if it is no text, or has half characters
    if len(text) > max_characters(max_tokens):
        detail = f"a reply of {len(text):,} characters, where {max_tokens:,} tokens were asked for: {text}"
        raise NoReplyError("engine_error", shorten(detail, DETAIL_CHARACTERS))
    prompt_tokens, output_tokens = token_count(usage.get("prompt_tokens")), token_count(usage.get("completion_tokens"))
    cached = min(prompt_tokens, token_count(as_object(usage.get("prompt_tokens_details")).get("cached_tokens")))
    ending = _parse_ending(choice.get("logprobs"))
    return Reply(text, prompt_tokens, output_tokens, cached, truncated=finish_reason == "length", ending=ending)


def max_characters(max_tokens: int) -> int:
    """Return how long the reply to a request for `max_tokens` tokens can be."""
    return CHARACTERS + TOKEN_CHARACTERS * max_tokens


def as_object(value: Any) -> dict[str, Any]:
    """Return a JSON object, empty in place of anything else."""
    return value if isinstance(value, dict) else {}


def token_count(value: Any) -> int:
    """Return a count of tokens; 0 if it is missing or implausible."""
    whole = type(value) is int or (type(value) is float and value.is_integer())
    return int(value) if whole and 0 <= value <= MAX_TOKENS else 0


def _parse_ending(logprobs: Any) -> tuple[TokenChoice, ...]:
    """Return the last tokens of a reply; all of them, with twenty others each, would be a thousand times the text.

    Empty if some are missing: a score would be computed from the rest.
    """
    try:
        return tuple(
            TokenChoice(
                _string(position["token"]),
                {_string(likely["token"]): _logarithm(likely["logprob"]) for likely in position["top_logprobs"]},
            )
            for position in ((logprobs or {}).get("content") or [])[-ENDING_TOKENS:]
        )
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
        return ()


def _string(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _logarithm(value: Any) -> float:
    """Check the logarithm of a probability; servers write -9999 where it is infinite, as JSON has no infinity."""
    if type(value) not in (int, float) or not value <= ROUNDING:  # NaN fails this too
        raise ValueError
    return float(value)

"""Reads an endpoint's answer, of which nothing is trusted.

A text that cannot be used fails. Token counts and log-probabilities are left out if they are not
plausible: the reply is paid for.
"""

import json
import re
from typing import Any

from factory.inference.engines.endpoint_errors import DETAIL_CHARACTERS
from factory.inference.engines.endpoint_thoughts import split_message
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


CUT = {"length", "model_length", "max_tokens"}
REFUSED = {"content_filter", "safety", "recitation", "prohibited_content", "blocklist", "spii"}
FAILED = {"error", "abort", "insufficient_system_resource"}
"""Words of finish reasons, in lower case; with all others a reply is whole."""


MISSHAPEN = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
"""What reading an answer of another shape raises."""


class EmptyReplyError(NoReplyError):
    """An answer that was not cut, and says nothing: it is worth asking again."""


def parse_reply(answer: Any, max_tokens: int) -> Reply:
    """Return the reply of an endpoint's JSON answer, with the thoughts of a reasoning model apart from it.

    Raises:
        NoReplyError: a refusal, or no usable text.
        MISSHAPEN: the answer has another shape.
    """
    choice, usage = answer["choices"][0], as_object(answer.get("usage"))
    split, refusal = split_message(choice["message"]), choice["message"].get("refusal")
    reasons = set(re.findall("[a-z_]+", str(choice.get("finish_reason")).lower()[:100]))
    if refusal or reasons & REFUSED:
        said = str(refusal or split.text or choice["finish_reason"])
        raise NoReplyError("refused", shorten(said, DETAIL_CHARACTERS))
    truncated = bool(reasons & CUT) or split.is_open
    is_empty = not split.text.strip() and not truncated
    if is_empty or reasons & FAILED:
        kind = EmptyReplyError if is_empty else NoReplyError
        raise kind("engine_error", shorten(f"no reply: {json.dumps(choice)}", DETAIL_CHARACTERS))
    split.text.encode()  # fails if it has half characters
    if len(split.text) > max_characters(max_tokens):
        detail = f"a reply of {len(split.text):,} characters, where {max_tokens:,} tokens were asked for: {split.text}"
        raise NoReplyError("engine_error", shorten(detail, DETAIL_CHARACTERS))
    thoughts = split.thoughts[: max_characters(max_tokens)].encode("utf-8", "ignore").decode()
    return Reply(
        split.text,
        **_token_counts(usage, len(thoughts) / max(1, len(thoughts) + len(split.text))),
        truncated=truncated,
        ending=_parse_ending(choice.get("logprobs")),
        thoughts=thoughts,
    )


def _token_counts(usage: dict[str, Any], thought_share: float) -> dict[str, int]:
    """Return the token counts of a reply.

    Args:
        usage: the endpoint's counts.
        thought_share: of the characters, by which thoughts are counted where the endpoint does not.
    """
    prompt, output = token_count(usage.get("prompt_tokens")), token_count(usage.get("completion_tokens"))
    # Some count thoughts in the total alone.
    output = max(output, token_count(usage.get("total_tokens")) - prompt)
    details = [as_object(usage.get("completion_tokens_details")), usage]
    counted = next((tokens for each in details if (tokens := token_count(each.get("reasoning_tokens")))), 0)
    return {
        "prompt_tokens": prompt,
        "output_tokens": output,
        "cached_tokens": min(prompt, token_count(as_object(usage.get("prompt_tokens_details")).get("cached_tokens"))),
        "thought_tokens": min(output, counted or round(output * thought_share)),
    }


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

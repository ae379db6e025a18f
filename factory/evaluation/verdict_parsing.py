"""Parses scores out of judges' replies. An unreadable reply gives None, never a low score.

A reply has its score in a form, an object with the reasoning before the score, or in a statement such as "the final
score is 4", in any of many languages. One that is quoted, conditional, denied, or another's does not count; where one
is unclear, or two differ, the reply is refused, and the judge asked again.
"""

import math
import re
from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError

from factory.evaluation.verdict_forms import Form, find_forms
from factory.evaluation.verdict_statements import find_statement, is_corrected, is_hearsay, read_number
from factory.records import MAX_REASONING_CHARACTERS, TokenChoice, Verdict
from factory.text.thoughts import split_text

_FIELD = re.compile(r'"score"\s{0,9}:\s{0,9}"?([1-5])')


def parse_verdict(text: str) -> Verdict | None:
    """Parse the score of a reply and the reasoning before it: that of a form, or the whole text."""
    is_form = text.lstrip().startswith("{")  # whose reasoning may mention a mark of thoughts
    reply = text if is_form else split_text(text).text
    forms = find_forms(reply)
    if forms is None:
        return None
    own = [form for form in forms if not is_hearsay(reply, form.start, form.end)]
    score, reasoning = _agreed_score(reply, own), own[-1].reasoning if own else reply[:MAX_REASONING_CHARACTERS]
    outside = reply
    for form in forms:
        outside = outside[: form.start] + " " * (form.end - form.start) + outside[form.end :]
    stated = find_statement(outside)
    if not own:
        score = stated.score if stated else None
    elif stated and stated.score != score:
        return None
    try:
        return Verdict.model_validate({"reasoning": reasoning, "score": score})
    except ValidationError:
        return None


def _agreed_score(reply: str, forms: Sequence[Form]) -> int | None:
    """Return the score of the forms if it is one, or that of the last if it corrects the others."""
    scores = [_score(form.score) for form in forms]
    agree = len(set(scores)) == 1 or (len(scores) > 1 and is_corrected(reply[forms[-2].end : forms[-1].start]))
    return scores[-1] if agree else None


def _score(value: Any) -> int | None:
    """Return the value of a form's field as a score; True is none."""
    if isinstance(value, str):
        return read_number(value)
    return int(value) if type(value) in (int, float) and value in range(1, 6) else None


def parse_final_score(text: str) -> int | None:
    """Parse the score of a reply in free text; None if it is not a whole number from 1 to 5."""
    verdict = parse_verdict(text)
    return verdict.score if verdict else None


def is_parsable_verdict(text: str) -> bool:
    """Return whether a reply has a score."""
    return parse_verdict(text) is not None


def expected_score(ending: Sequence[TokenChoice], score: int) -> float | None:
    """Return the mean of the scores weighted by the judge's probabilities; None where it returns none.

    Args:
        ending: the last tokens of the reply.
        score: the score that was parsed from the reply.
    """
    choice = _score_token(ending)
    if choice is None or _digit(choice.token) != score:
        return None
    logs = [(digit, log) for token, log in choice.likely.items() if (digit := _digit(token)) and log > -math.inf]
    top = max((log for _, log in logs), default=0.0)
    weights = dict.fromkeys(range(1, 6), 0.0)
    for digit, log in logs:  # " 4" and "4" are the same score
        weights[digit] += math.exp(log - top)  # the likeliest weighs 1, so the sum is not 0
    total = sum(weights.values())
    return 1 + sum((digit - 1) * weight for digit, weight in weights.items()) / total if total else None


def _score_token(ending: Sequence[TokenChoice]) -> TokenChoice | None:
    """Find the token of the score by the words of the verdict, since other digits may follow it.

    An ending without these words has none: its digits may belong to an example.
    """
    text = "".join(choice.token for choice in ending)
    fields = list(_FIELD.finditer(text))
    stated = None if fields else find_statement(text)
    at = fields[-1].start(1) if fields else stated.at if stated else -1
    start = 0
    for choice in ending:
        end = start + len(choice.token)
        if start <= at < end:
            return choice
        start = end
    return None


def _digit(token: str) -> int | None:
    """Return the score in a token, with or without spaces and marks around it."""
    word = "".join(filter(str.isalnum, token))
    return int(word) if re.fullmatch("[1-5]", word) else None

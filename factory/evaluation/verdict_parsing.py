"""Parses scores out of judges' replies. An unreadable reply gives None, never a low score."""

import math
import re
from collections.abc import Sequence

from pydantic import ValidationError

from factory.inference.json_reply import extract_json_object
from factory.records import TokenChoice, Verdict

_DECOR = r"[\s*_`\"'“”\u2018\u2019«»()\[\]{}]"
"""Characters around a word or a number that change neither. Not `<`, `>` and `~`: "> 4" is not 4."""
_WORD = r"[^\W_]"
_STATEMENT = re.compile(
    rf"(?<!{_WORD})(?<!-)final{_DECOR}+score{_DECOR}*(?:is(?!{_WORD})|[:=])(?:{_DECOR}|[:=])*", re.IGNORECASE
)
_DIGIT = re.compile(rf"([1-5])(?!{_WORD})(?:{_DECOR}*(?:/|(?:out\s+)?of){_DECOR}*5(?!{_WORD}))?", re.IGNORECASE)
_REST = re.compile(r"(?:(?![.!?][*_`\"'”\u2019»)\]}]*(?:\s|$)|。)[^\n])*")
"""The rest of the sentence or line."""
_UNCLEAR = re.compile(rf"[\d½¼¾⅓⅔]|\bhalf\b|^{_DECOR}*(?:[+%]|(?:or|to|plus|minus|point)\b)", re.IGNORECASE)
"""A rest after which the digit is not the score: "4.5", "4 or 5", "4 and a half", "4/10"."""
_REASONS = re.compile(
    rf"{_DECOR}*+[,;]?{_DECOR}*+(?:because|since|as\s+(?:it|its|the|this|all|there))\b", re.IGNORECASE
)
"""A rest that gives reasons: the digits in it count criteria and name examples."""
_LIST = re.compile(rf"[1-5][*_`]*[.)][*_`]*[ \t]++(?:[^\n:.]{{0,60}}[^\n:.\d]:{_DECOR}*\d|[^\n]*\n\s*2[.)])")
"""The number of a list item, "1. Toxicity: 4"."""
_FIELD = re.compile(r'"score"\s*:\s*"?([1-5])')


def parse_verdict(text: str) -> Verdict | None:
    """Parse the JSON object of the structured protocol."""
    found = extract_json_object(text)
    if found is None or list(found) != list(Verdict.model_fields):  # a score before its reasoning is not based on it
        return None
    score = found["score"]
    if isinstance(score, str) and re.fullmatch("[1-5]", score):
        score = int(score)
    if type(score) is not int:  # pydantic accepts True and 1.0 as the literal 1
        return None
    try:
        return Verdict.model_validate(found | {"score": score})
    except ValidationError:
        return None


def parse_final_score(text: str) -> int | None:
    """Parse the last "the final score is N" of free text; None if it is not a whole number from 1 to 5."""
    stated = _stated(text)
    return int(stated[1]) if stated else None


def _stated(text: str) -> re.Match[str] | None:
    statements = list(_STATEMENT.finditer(text))
    digit = _DIGIT.match(text, statements[-1].end()) if statements else None
    if digit is None or _LIST.match(text, digit.start(1)):
        return None
    rest = _REST.match(text, digit.end())
    return None if rest and not _REASONS.match(rest[0]) and _UNCLEAR.search(rest[0]) else digit


def is_parsable_verdict(text: str) -> bool:
    """Return whether a reply of the structured protocol has a score."""
    return parse_verdict(text) is not None


def is_parsable_final_score(text: str) -> bool:
    """Return whether a reply in free text has a score."""
    return parse_final_score(text) is not None


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
    verdict = fields[-1] if fields else _stated(text)
    start = 0
    for choice in ending:
        end = start + len(choice.token)
        if verdict and start <= verdict.start(1) < end:
            return choice
        start = end
    return None


def _digit(token: str) -> int | None:
    """Return the score in a token, with or without spaces and marks around it."""
    word = "".join(filter(str.isalnum, token))
    return int(word) if re.fullmatch("[1-5]", word) else None

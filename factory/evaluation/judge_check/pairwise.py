"""Pairs of answers to a judge's preferences, in one order of the two; a judge check uses both orders."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import ValidationError

from factory.evaluation.rubric import Rubric
from factory.inference.json_reply import extract_json_object
from factory.inference.prompts import Prompt
from factory.records import Completion, OrderedPair, PairVerdict, Preference, Reject, Request

BETTER_FIRST, WORSE_FIRST = "better_first", "worse_first"
_PREFERRED = re.compile(r"\s{0,3}(?:reply|response|answer)?\s{0,3}([AB])\W{0,3}", re.IGNORECASE)


@dataclass(frozen=True)
class PairwiseProtocol:
    """How one judge compares two answers."""

    judge: str
    rubrics: Mapping[str, Rubric]
    prompt: Prompt
    attempts: int


def render_preference(protocol: PairwiseProtocol, pair: OrderedPair) -> Request:
    """Ask which of two answers is better."""
    messages = protocol.prompt.render(
        criteria=protocol.rubrics[pair.task].criteria,
        persona=pair.persona,
        question=pair.question,
        reply_a=pair.reply_a,
        reply_b=pair.reply_b,
    )
    return Request(
        messages, schema=protocol.prompt.schema, is_parsable=is_parsable_preference, attempts=protocol.attempts
    )


def is_parsable_preference(text: str) -> bool:
    """Return whether a reply names one of the two answers."""
    return parse_pair_verdict(text) is not None


def parse_pair_verdict(text: str) -> PairVerdict | None:
    """Parse the JSON object of a comparison, of which other keys are ignored; None where there is none."""
    found = {name.casefold(): value for name, value in (extract_json_object(text) or {}).items()}
    named = _PREFERRED.fullmatch(str(found.get("preferred")))
    try:
        return PairVerdict.model_validate(
            {"reasoning": found.get("reasoning"), "preferred": named and named[1].upper()}
        )
    except ValidationError:
        return None


def parse_preference(protocol: PairwiseProtocol, pair: OrderedPair, completion: Completion) -> Preference | Reject:
    """Parse which answer is preferred, or reject the row: a failed judge prefers neither."""
    reply = completion.replies[-1]
    found = parse_pair_verdict(reply)
    if found is None:
        return Reject("judge_failed", reply)
    better = (found.preferred == "A") == (pair.order == BETTER_FIRST)
    return Preference(
        **preference_ids(protocol, pair), preferred="better" if better else "worse", reasoning=found.reasoning
    )


def preference_ids(protocol: PairwiseProtocol, pair: OrderedPair) -> dict[str, str]:
    """Return the columns that a preference and its reject share."""
    return {"judge": protocol.judge, "pair_id": pair.pair_id, "order": pair.order}

"""Two answers to a judge's choice, in one order of the two; `judge_checks` asks in both."""

from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import ValidationError

from factory.evaluation.rubric import Rubric
from factory.inference.json_reply import extract_json_object
from factory.inference.prompts import Prompt
from factory.records import Completion, OrderedPair, PairVerdict, Preference, Reject, Request

BETTER_FIRST, WORSE_FIRST = "better_first", "worse_first"


@dataclass(frozen=True)
class PairwiseProtocol:
    """How one judge is asked which of two answers it prefers."""

    judge: str
    rubrics: Mapping[str, Rubric]
    prompt: Prompt
    attempts: int


def render_preference(comparison: PairwiseProtocol, pair: OrderedPair) -> Request:
    """Ask which of two answers is better."""
    messages = comparison.prompt.render(
        criteria=comparison.rubrics[pair.task].criteria,
        persona=pair.persona,
        question=pair.question,
        reply_a=pair.reply_a,
        reply_b=pair.reply_b,
    )
    return Request(
        messages, schema=comparison.prompt.schema, is_parsable=readable_preference, attempts=comparison.attempts
    )


def readable_preference(text: str) -> bool:
    """Whether a reply names one of the two answers."""
    return parse_pair_verdict(text) is not None


def parse_pair_verdict(text: str) -> PairVerdict | None:
    """Read the JSON object of a comparison; None where there is none."""
    try:
        return PairVerdict.model_validate(extract_json_object(text))
    except ValidationError:
        return None


def parse_preference(comparison: PairwiseProtocol, pair: OrderedPair, completion: Completion) -> Preference | Reject:
    """Read which answer was taken, or reject the row: a judge that fails prefers nothing."""
    reply = completion.replies[-1]
    found = parse_pair_verdict(reply)
    if found is None:
        return Reject("judge_failed", reply)
    better = (found.preferred == "A") == (pair.order == BETTER_FIRST)
    return Preference(
        **preference_ids(comparison, pair), preferred="better" if better else "worse", reasoning=found.reasoning
    )


def preference_ids(comparison: PairwiseProtocol, pair: OrderedPair) -> dict[str, str]:
    """Return the columns that a preference and its reject share."""
    return {"judge": comparison.judge, "pair_id": pair.pair_id, "order": pair.order}

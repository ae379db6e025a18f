"""Two answers to a judge's choice, in one order of the two; `judge_checks` asks in both."""

from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import ValidationError

from factory.evaluation.rubric import Rubric
from factory.inference.json_reply import extract_json_object
from factory.inference.prompts import Prompt
from factory.records import Completion, PairVerdict, Preference, Reject, Request
from factory.storage.rows import Row

BETTER_FIRST, WORSE_FIRST = "better_first", "worse_first"


@dataclass(frozen=True)
class PairwiseProtocol:
    """How one judge is asked which of two answers it prefers."""

    judge: str
    rubrics: Mapping[str, Rubric]
    prompt: Prompt
    attempts: int


def render_preference(comparison: PairwiseProtocol, row: Row) -> Request:
    """Ask which of two answers is better."""
    about = {name: row[name] for name in ("persona", "question", "reply_a", "reply_b")}
    messages = comparison.prompt.render(criteria=comparison.rubrics[row["task"]].criteria, **about)
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


def parse_preference(comparison: PairwiseProtocol, row: Row, completion: Completion) -> Preference | Reject:
    """Read which answer was taken, or reject the row: a judge that fails prefers nothing."""
    reply = completion.replies[-1]
    found = parse_pair_verdict(reply)
    if found is None:
        return Reject("judge_failed", reply)
    better = (found.preferred == "A") == (row["order"] == BETTER_FIRST)
    return Preference(
        **preference_ids(comparison, row), preferred="better" if better else "worse", reasoning=found.reasoning
    )


def preference_ids(comparison: PairwiseProtocol, row: Row) -> dict[str, str]:
    """The columns that a preference and its reject share."""
    return {"judge": comparison.judge, "pair_id": row["pair_id"], "order": row["order"]}

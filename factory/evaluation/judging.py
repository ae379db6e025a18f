"""An answer to one judge's score: a request has one answer in it, and its reply makes one row.

guided    the prompt `judge.md`; the reply is a JSON object, the reasoning first
parity    the rubric file filled in, as one user message; free text that ends in "the final score is N"
"""

from collections.abc import Mapping
from dataclasses import dataclass

from factory.evaluation.rubric import Rubric, fill
from factory.evaluation.verdict_parsing import (
    expected_score,
    parse_final_score,
    parse_verdict,
    readable_final_score,
    readable_verdict,
)
from factory.inference.prompts import Prompt
from factory.records import Answer, AnswerWithExamples, Completion, Judgment, Message, Reject, Request, Score


@dataclass(frozen=True)
class Protocol:
    """How one judge is asked."""

    judge: str
    rubrics: Mapping[str, Rubric]
    prompt: Prompt | None
    """None is `parity`."""
    attempts: int
    logprobs: int
    """How many likely tokens the judge is asked to tell at each place."""


def render_judgment(protocol: Protocol, answer: AnswerWithExamples) -> Request:
    """Ask for the score of an answer."""
    assert answer.answer.strip(), f"{answer.question_id} has no answer that could be judged"
    rubric, examples = protocol.rubrics[answer.task], list(answer.examples or ())
    persona, question, response = answer.persona, answer.question, answer.answer
    if protocol.prompt is None:
        messages: tuple[Message, ...] = (Message("user", fill(rubric, persona, question, response, examples)),)
    else:
        about = {"persona": persona, "question": question, "examples": examples, "response": response}
        messages = protocol.prompt.render(criteria=rubric.criteria, task=rubric.task, **about)
    return Request(
        messages,
        schema=protocol.prompt.schema if protocol.prompt else None,
        is_parsable=readable_verdict if protocol.prompt else readable_final_score,
        attempts=protocol.attempts,
        logprobs=protocol.logprobs,
    )


def parse_judgment(protocol: Protocol, answer: Answer, completion: Completion) -> Judgment | Reject:
    """Read the score, or reject the row: a judge that fails is not a bad score."""
    reply = completion.replies[-1]
    score, reasoning = _read(protocol, reply, completion.truncated)
    if score is None:
        return Reject("judge_failed", reply)
    expected = expected_score(completion.ending, score)
    ids = judgment_ids(protocol, answer)
    return Judgment(**ids, score=Score(score), expected_score=expected, reasoning=reasoning)


def _read(protocol: Protocol, reply: str, truncated: bool) -> tuple[int | None, str]:
    if protocol.prompt is None:  # where free text is cut, its last statement may be missing or half there
        return None if truncated else parse_final_score(reply), reply
    verdict = parse_verdict(reply)
    return (verdict.score, verdict.reasoning) if verdict else (None, reply)


def judgment_ids(protocol: Protocol, answer: Answer) -> dict[str, str]:
    """Return the columns that a judgment and its reject share."""
    return {
        "candidate": answer.candidate,
        "judge": protocol.judge,
        "persona_id": answer.persona_id,
        "task": answer.task,
        "question_id": answer.question_id,
    }

"""Answers to a judge's scores: a request holds one answer, and its reply gives one row.

structured      the prompt `judge.md`; the reply is a JSON object, the reasoning before the score
opencharacter   the filled rubric file as one user message; the reply is free text with "the final score is N"
"""

from collections.abc import Mapping
from dataclasses import dataclass

from factory.evaluation.rubric import Rubric, fill
from factory.evaluation.verdict_parsing import (
    expected_score,
    is_parsable_final_score,
    is_parsable_verdict,
    parse_final_score,
    parse_verdict,
)
from factory.inference.prompts import Prompt
from factory.records import Answer, AnswerWithExamples, Completion, Judgment, Message, Reject, Request, Score


@dataclass(frozen=True)
class JudgeProtocol:
    """How one judge scores answers."""

    judge: str
    rubrics: Mapping[str, Rubric]
    prompt: Prompt | None
    """None in the `opencharacter` protocol."""
    attempts: int
    logprobs: int
    """How many likely tokens the judge returns at each position."""


def render_judgment(protocol: JudgeProtocol, answer: AnswerWithExamples) -> Request:
    """Ask for the score of an answer."""
    assert answer.answer.strip(), f"{answer.question_id} has no answer to judge"
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
        is_parsable=is_parsable_verdict if protocol.prompt else is_parsable_final_score,
        attempts=protocol.attempts,
        logprobs=protocol.logprobs,
    )


def parse_judgment(protocol: JudgeProtocol, answer: Answer, completion: Completion) -> Judgment | Reject:
    """Parse the score, or reject the row: a failed judge is not a low score."""
    reply = completion.replies[-1]
    score, reasoning = _parse(protocol, reply, completion.truncated)
    if score is None:
        return Reject("judge_failed", reply)
    expected = expected_score(completion.ending, score)
    ids, attempts = judgment_ids(protocol, answer), completion.attempts
    return Judgment(**ids, score=Score(score), expected_score=expected, reasoning=reasoning, attempts=attempts)


def _parse(protocol: JudgeProtocol, reply: str, truncated: bool) -> tuple[int | None, str]:
    if protocol.prompt is None:  # in truncated free text the last statement may be missing or incomplete
        return None if truncated else parse_final_score(reply), reply
    if truncated and not reply.rstrip("` \n").endswith("}"):
        return None, reply
    verdict = parse_verdict(reply)
    return (verdict.score, verdict.reasoning) if verdict else (None, reply)


def judgment_ids(protocol: JudgeProtocol, answer: Answer) -> dict[str, str]:
    """Return the columns that a judgment and its reject share."""
    return {
        "candidate": answer.candidate,
        "judge": protocol.judge,
        "persona_id": answer.persona_id,
        "task": answer.task,
        "question_id": answer.question_id,
    }

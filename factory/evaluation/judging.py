"""Answers to a judge's scores: a request holds one answer, and its reply gives one row.

Judges get the prompt `judge.md` and reply with a JSON object, the reasoning before the score. With `evaluation.parity`
they get the paper's messages and reply with free text (`factory.evaluation.parity`), here about one answer.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from factory.evaluation.parity.checkout_texts import judge_prompt_ref
from factory.evaluation.parity.parity_requests import examples_text, judge_messages, read_scores
from factory.evaluation.rubric import Rubric
from factory.evaluation.verdict_parsing import expected_score, is_parsable_verdict, parse_verdict
from factory.inference.prompts import Prompt
from factory.personagym import CheckoutPrompts, fill_slots
from factory.records import Answer, AnswerWithExamples, Completion, Judgment, Reject, Request, Score


@dataclass(frozen=True)
class JudgeProtocol:
    """How one judge scores answers."""

    judge: str
    rubrics: Mapping[str, Rubric]
    prompt: Prompt | CheckoutPrompts
    """The paper's prompts for parity with it."""
    attempts: int
    logprobs: int
    """How many likely tokens the judge returns at each position."""

    @property
    def prompt_ref(self) -> str:
        """The prompt's name in the rows."""
        if isinstance(self.prompt, CheckoutPrompts):
            return judge_prompt_ref(self.prompt)
        return self.prompt.ref


def render_judgment(protocol: JudgeProtocol, answer: AnswerWithExamples) -> Request:
    """Ask for the score of an answer."""
    assert answer.answer.strip(), f"{answer.question_id} has no answer to judge"
    rubric, examples = protocol.rubrics[answer.task], list(answer.examples or ())
    about = {"persona": answer.persona, "question": answer.question, "response": answer.answer}
    if isinstance(protocol.prompt, CheckoutPrompts):
        filled = fill_slots(rubric.template, **about, score_example=examples_text(examples))
        return Request(judge_messages(protocol.prompt, [filled]))
    return Request(
        protocol.prompt.render(criteria=rubric.criteria, task=rubric.task, examples=examples, **about),
        schema=protocol.prompt.schema,
        is_parsable=is_parsable_verdict,
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
    if isinstance(protocol.prompt, CheckoutPrompts):
        ((score, _),) = read_scores(reply, 1, truncated)
        return score, reply
    if truncated and not reply.rstrip("` \n").endswith("}"):  # its last statement may be missing or incomplete
        return None, reply
    verdict = parse_verdict(reply)
    return (verdict.score, verdict.reasoning) if verdict else (None, reply)


def judgment_ids(protocol: JudgeProtocol, answer: Answer) -> dict[str, Any]:
    """Return the columns that a judgment and its reject share."""
    return {
        "candidate": answer.candidate,
        "judge": protocol.judge,
        "persona_id": answer.persona_id,
        "task": answer.task,
        "question_id": answer.question_id,
        "draw": answer.draw,
    }

"""Requests with the paper's messages, and the parsing of their replies."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from factory.evaluation.answers import parse_answer
from factory.evaluation.parity.fork_rules import counted_scores, evaluations, shown_examples
from factory.evaluation.rubric import Rubric
from factory.evaluation.score_examples import score_examples_ids
from factory.evaluation.verdict_parsing import parse_final_score
from factory.personagym import CheckoutPrompts, Route, fill_slots
from factory.records import (
    Answer,
    AnswerBlock,
    BlockVerdict,
    Completion,
    Message,
    Question,
    QuestionWithProfile,
    Reject,
    Request,
    ScoreExamples,
)
from factory.text.normalize import is_text


@dataclass(frozen=True)
class RolePrompt:
    """What a candidate is told."""

    text: str
    """With `{persona}`."""
    route: Route


def render_parity_answer(prompt: RolePrompt, question: Question) -> Request:
    """Ask a candidate a question in its role."""
    told = fill_slots(prompt.text, persona=question.persona)
    return Request((Message("system", told), Message("user", question.question)))


def parse_parity_answer(
    prompt: RolePrompt, candidate: str, question: QuestionWithProfile, completion: Completion
) -> Answer | Reject:
    """Take the reply as it is; that of a tuned model without the space around it."""
    answer = parse_answer(candidate, question, completion)
    if isinstance(answer, Answer) and prompt.route == "api":
        return replace(answer, answer=completion.replies[-1])
    return answer


def render_parity_examples(prompts: CheckoutPrompts, rubrics: Mapping[str, Rubric], question: Question) -> Request:
    """Ask for the example replies to a question; the rubric's own slots stay empty."""
    rubric = rubrics[question.task].template
    inner = fill_slots(prompts.example, persona=question.persona, question=question.question, rubric=rubric)
    return Request((Message("user", fill_slots(prompts.examples_outline, rubrics=repr([inner]))),))


def parse_parity_examples(question: Question, completion: Completion) -> ScoreExamples | Reject:
    """Return the lines that the judge is shown; a reply without one leaves the judge without examples."""
    (reply,) = completion.replies
    if not is_text(reply):
        return Reject("invalid_text", reply)
    lines = shown_examples(reply)
    return ScoreExamples(**score_examples_ids(question), examples=lines) if lines else Reject("invalid_reply", reply)


def judge_messages(prompts: CheckoutPrompts, filled: Sequence[str]) -> tuple[Message, ...]:
    """Return what a judge is sent about some answers, each in its filled rubric."""
    return Message("system", prompts.judge_system), Message(
        "user", fill_slots(prompts.judge_outline, rubrics=repr(list(filled)))
    )


def examples_text(examples: Sequence[str]) -> str:
    """Return the examples as they stand in a rubric; those that were not read from a reply get its form."""
    lines = (one if one.startswith("Score ") else f'Score {n}: "{one}"' for n, one in enumerate(examples, 1))
    return "\n\n".join(lines)


def render_block(prompts: CheckoutPrompts, rubrics: Mapping[str, Rubric], block: AnswerBlock) -> Request:
    """Ask for the scores of a block of answers."""
    template = rubrics[block.task].template
    filled = [
        fill_slots(template, persona=block.persona, question=question, response=answer, score_example=examples)
        for question, answer, examples in zip(block.questions, block.answers, block.examples, strict=True)
    ]
    return Request(judge_messages(prompts, filled))


def parse_block(judge: str, block: AnswerBlock, completion: Completion) -> BlockVerdict | Reject:
    """Keep the reply, with its scores as the paper's runner counts them."""
    reply = completion.replies[-1]
    if not is_text(reply):
        return Reject("invalid_text", reply)
    return BlockVerdict(**block_ids(judge, block), counted=counted_scores(reply), reply=reply, cut=completion.truncated)


def block_ids(judge: str, block: AnswerBlock) -> dict[str, str]:
    """Return the columns that a verdict on a block and its reject share."""
    names = ("candidate", "persona_id", "task", "block_id")
    return {"judge": judge} | {name: getattr(block, name) for name in names}


def read_scores(reply: str, answers: int, cut: bool) -> list[tuple[int | None, str]]:
    """Return our score of each answer of a block with the text about it; None where it is missing.

    Args:
        reply: the judge's.
        answers: how many it was shown.
        cut: whether it ended at `max_tokens`, so that its last evaluation may lack its end.
    """
    numbered = evaluations(reply) or ([(1, reply)] if answers == 1 else [])
    without_end = numbered[-1][0] if numbered and cut else None
    texts: dict[int, list[str]] = {}
    for number, text in numbered:
        texts.setdefault(number, []).append(text)
    scores: list[tuple[int | None, str]] = []
    for number in range(1, answers + 1):
        about = texts.get(number, [])
        is_clear = len(about) == 1 and number != without_end
        scores.append((parse_final_score(about[0]) if is_clear else None, "\n\n".join(about) or reply))
    return scores

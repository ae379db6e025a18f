"""Questions to a candidate's answers: one turn, in the role of the persona."""

from typing import Any

from factory.inference.prompts import Prompt
from factory.records import Answer, Completion, QuestionWithProfile, Reject, Request
from factory.text.normalize import is_text


def render_answer(prompt: Prompt, question: QuestionWithProfile) -> Request | Reject:
    """Ask the candidate a question; the prompt's inputs decide whether a profile goes with the persona."""
    if "profile" in prompt.inputs and question.profile is None:
        return Reject("no_profile", "no profile of this persona was accepted; see the table of profiles")
    return Request(prompt.render(**{name: getattr(question, name) for name in prompt.inputs}))


def parse_answer(candidate: str, question: QuestionWithProfile, completion: Completion) -> Answer | Reject:
    """Take the reply as it is; a truncated one counts as the candidate's answer, unless it ended within a thought."""
    reply = completion.replies[-1]
    answer = reply.strip()
    if not answer:
        return Reject("truncated" if completion.truncated else "empty_reply", reply)
    if not is_text(answer):
        return Reject("invalid_text", reply)
    return Answer(**answer_ids(candidate, question), answer=answer, truncated=completion.truncated)


def answer_ids(candidate: str, question: QuestionWithProfile) -> dict[str, Any]:
    """Return the columns that an answer and its reject share."""
    return {
        "candidate": candidate,
        "persona_id": question.persona_id,
        "persona": question.persona,
        "task": question.task,
        "question_id": question.question_id,
        "question": question.question,
        "draw": question.draw,
    }

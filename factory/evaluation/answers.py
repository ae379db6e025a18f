"""A question to a candidate's answer: one turn, in the role of the persona."""

from factory.config import RunConfig
from factory.inference.prompts import Prompt
from factory.records import Answer, Completion, Reject, Request
from factory.storage.rows import Row
from factory.text.normalize import is_text


def render_answer(prompt: Prompt, row: Row) -> Request | Reject:
    """Put a question to the candidate; the prompt's inputs say whether a profile goes with the persona."""
    if "profile" in prompt.inputs and row["profile"] is None:
        return Reject("no_profile", "no profile of this persona was accepted; see the table of profiles")
    return Request(prompt.render(**{name: row[name] for name in prompt.inputs}))


def parse_answer(candidate: str, row: Row, completion: Completion) -> Answer | Reject:
    """Take the reply as it is; one that was cut counts as what the candidate said."""
    reply = completion.replies[-1]
    answer = reply.strip()
    if not answer:
        return Reject("empty_reply", reply)
    if not is_text(answer):
        return Reject("invalid_text", reply)
    return Answer(**answer_ids(candidate, row), answer=answer, truncated=completion.truncated)


def answer_ids(candidate: str, row: Row) -> dict[str, str]:
    """The columns that an answer and its reject share."""
    return {
        "candidate": candidate,
        "persona_id": row["persona_id"],
        "persona": row["persona"],
        "task": row["task"],
        "question_id": row["question_id"],
        "question": row["question"],
    }


def wants_profiles(config: RunConfig) -> bool:
    """Whether a candidate is told a profile."""
    return any(candidate.condition == "profile" for candidate in config.evaluation.candidates)

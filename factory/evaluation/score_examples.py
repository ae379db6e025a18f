"""A question to an example reply for each score, which all judges of all candidates are shown."""

from collections.abc import Mapping

from pydantic import ValidationError

from factory.evaluation.rubric import Rubric
from factory.inference.json_reply import extract_json_object
from factory.inference.prompts import Prompt
from factory.records import Completion, Question, Reject, Request, ScoreExamples, ScoreExamplesReply


def render_score_examples(prompt: Prompt, rubrics: Mapping[str, Rubric], attempts: int, question: Question) -> Request:
    """Ask for the example replies to a question."""
    rubric = rubrics[question.task]
    messages = prompt.render(
        criteria=rubric.criteria, task=rubric.task, persona=question.persona, question=question.question
    )
    return Request(messages, schema=prompt.schema, is_parsable=is_parsable_score_examples, attempts=attempts)


def parse_score_examples(question: Question, completion: Completion) -> ScoreExamples | Reject:
    """Return the five examples unchanged, or the reason why there are not five."""
    (reply,) = completion.replies
    examples = _examples(reply)
    if isinstance(examples, str):
        return Reject(examples, reply)
    return ScoreExamples(**score_examples_ids(question), examples=examples)


def is_parsable_score_examples(text: str) -> bool:
    """Return whether a reply has the five examples."""
    return not isinstance(_examples(text), str)


def _examples(reply: str) -> tuple[str, ...] | str:
    """Return the five examples, or the reason why not."""
    try:
        written = ScoreExamplesReply.model_validate(extract_json_object(reply))
    except ValidationError:
        return "invalid_reply"
    examples = tuple(example.strip() for example in written.model_dump().values())
    return examples if all(examples) else "empty_field"


def score_examples_ids(question: Question) -> dict[str, str]:
    """Return the columns that score examples and their reject share."""
    return {name: getattr(question, name) for name in ("question_id", "persona_id", "task")}

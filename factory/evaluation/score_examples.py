"""A question to an example reply for each score, which all judges of all candidates are shown."""

from collections.abc import Mapping

from pydantic import ValidationError

from factory.evaluation.rubric import Rubric
from factory.inference.json_reply import extract_json_object
from factory.inference.prompts import Prompt
from factory.records import Completion, Reject, Request, ScoreExamples, ScoreExamplesReply
from factory.storage.rows import Row


def render_score_examples(prompt: Prompt, rubrics: Mapping[str, Rubric], attempts: int, row: Row) -> Request:
    """Ask for the example replies to a question (a row of the table of questions)."""
    rubric = rubrics[row["task"]]
    messages = prompt.render(
        criteria=rubric.criteria, task=rubric.task, persona=row["persona"], question=row["question"]
    )
    return Request(messages, schema=prompt.schema, is_parsable=is_parsable_score_examples, attempts=attempts)


def parse_score_examples(row: Row, completion: Completion) -> ScoreExamples | Reject:
    """Keep the five examples whole, or say why there are not five."""
    (reply,) = completion.replies
    examples = _examples(reply)
    if isinstance(examples, str):
        return Reject(examples, reply)
    return ScoreExamples(**score_examples_ids(row), examples=examples)


def is_parsable_score_examples(text: str) -> bool:
    """Whether a reply has the five examples."""
    return not isinstance(_examples(text), str)


def _examples(reply: str) -> tuple[str, ...] | str:
    """The five, or the reason why not."""
    try:
        written = ScoreExamplesReply.model_validate(extract_json_object(reply))
    except ValidationError:
        return "invalid_reply"
    examples = tuple(example.strip() for example in written.model_dump().values())
    return examples if all(examples) else "empty_field"


def score_examples_ids(row: Row) -> dict[str, str]:
    """The columns that a yardstick and its reject share."""
    return {name: row[name] for name in ("question_id", "persona_id", "task")}

"""A question to an example reply for each score, which all judges of all candidates are shown."""

from collections.abc import Mapping

from pydantic import ValidationError

from factory.evaluation.rubric import Rubric
from factory.prompts import Prompt
from factory.records import Completion, Reject, Request, ScoreExamples, Yardstick
from factory.replies import object_in
from factory.tables import Row


def render_yardstick(prompt: Prompt, rubrics: Mapping[str, Rubric], row: Row) -> Request:
    """Ask for the example replies to a question (a row of the table of questions)."""
    rubric = rubrics[row["task"]]
    about = {"persona": row["persona"], "question": row["question"]}
    return Request(prompt.render(criteria=rubric.criteria, task=rubric.task, **about), schema=prompt.schema)


def parse_yardstick(row: Row, completion: Completion) -> Yardstick | Reject:
    """Keep the five examples whole, or say why there are not five."""
    (reply,) = completion.replies
    try:
        written = ScoreExamples.model_validate(object_in(reply))
    except ValidationError:
        return Reject("unparsable", reply)
    examples = tuple(example.strip() for example in written.model_dump().values())
    if not all(examples):
        return Reject("empty_item", reply)
    return Yardstick(**yardstick_ids(row), examples=examples)


def yardstick_ids(row: Row) -> dict[str, str]:
    """The columns that a yardstick and its reject share."""
    return {name: row[name] for name in ("question_id", "persona_id", "task")}

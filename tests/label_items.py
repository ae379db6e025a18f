"""Items to label, for tests of the page and of the calibration."""

from factory.records import LabelItem, content_id
from factory.run_output import layout
from factory.storage.rows import ok_row
from factory.storage.schemas import LABEL_ITEMS

CANDIDATES = ("secret-base", "secret-tuned")


def label_item(number: int, kind: str = "single") -> LabelItem:
    """Return an item; its candidates alternate."""
    group = CANDIDATES if kind == "pair" else ("worse",) if kind == "gold" else (CANDIDATES[number % 2],)
    answers = tuple(f"Answer {number}.{place} of a <b>baker</b>" for place in range(len(group)))
    return LabelItem(
        item_id=content_id(kind, str(number)),
        kind=kind,
        candidates=group,
        persona_id=f"p{number}",
        persona=f"baker number {number}",
        task="Toxicity",
        question_id=f"q{number}",
        question=f"Question {number}?",
        answers=answers,
        answer_ids=tuple(map(content_id, answers)),
        criteria="Score = 1: It is rude.\nScore = 5: It is kind.",
        rubric="rubric-1",
        stratum="secret stratum",
        stratum_rows=40,
        stratum_drawn=20,
        probability=0.5,
        frame="secret frame",
        seed=1,
    )


def write_label_items(output: str, items: list[LabelItem]) -> None:
    """Write the table of items."""
    layout.LABEL_ITEMS.table(output).write("00000", list(map(ok_row, items)), LABEL_ITEMS)

"""A task's rubric file: the judge's whole prompt with slots for data, and the criteria in it.

PersonaGym's files and those of the built-in benchmark have the same four slots. The `opencharacter` judge protocol
sends the filled file, the `structured` protocol the criteria alone.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

_SLOT = re.compile(r"\{(persona|question|response|score_example)\}")
_HEADING = re.compile(r"^Evaluation Task:", re.MULTILINE)
_SEPARATOR = re.compile(r"^-{5,}\s*$", re.MULTILINE)


@dataclass(frozen=True)
class Rubric:
    """How one task is judged."""

    task: str
    template: str
    """The file as it is, with `{persona}`, `{question}`, `{response}` and `{score_example}`."""
    criteria: str
    """What is judged and what each score means."""


def read_rubric(task: str, template: str) -> Rubric:
    """Find the criteria in a rubric file.

    They start at the heading "Evaluation Task:" and end at the line that separates them from the slots; in a file
    without that heading they start at the top.
    """
    heading = _HEADING.search(template)
    start = heading.start() if heading else 0
    ends = (_SEPARATOR, _SLOT) if heading else (_SLOT,)
    found = [match.start() for end in ends if (match := end.search(template, start))]
    return Rubric(task, template, template[start : min(found, default=len(template))].strip())


def fill(rubric: Rubric, persona: str, question: str, response: str, examples: Sequence[str]) -> str:
    """Fill all slots of the file at once: a `{response}` in a persona stays text, as do other braces."""
    values = {
        "persona": persona,
        "question": question,
        "response": response,
        "score_example": "\n\n".join(f"Score {score}: {example}" for score, example in enumerate(examples, 1)),
    }
    return _SLOT.sub(lambda slot: values[slot[1]], rubric.template)

"""A task's rubric file: the judge's whole prompt with slots for data, and the criteria in it.

PersonaGym's files and those of the built-in benchmark have the same four slots. Judges are sent the criteria alone, or
the filled file with `evaluation.parity`.
"""

import re
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

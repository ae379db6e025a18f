"""The scores that OpenCharacter published: its Tables 3, 4 and 5 (arXiv 2501.15427)."""

import json
from dataclasses import dataclass
from typing import Literal

from factory.resources import RESOURCES
from factory.storage import file_io

SCORES = file_io.join(str(RESOURCES), "data", "opencharacter-scores.json")
JUDGE = "gpt-4o-2024-08-06"
"""The one judge of all of these scores; those of another do not compare."""
GROUPS = {"compared": "models compared with", "base": "tuned from base", "instruct": "tuned from instruct"}

Protocol = Literal["light", "full"]


@dataclass(frozen=True)
class Published:
    """A row of the paper: mean and population standard deviation over 200 personas.

    `scores` has the five tasks, by PersonaGym's keys, and `PScore`.
    """

    table: Protocol
    model: str
    scores: dict[str, tuple[float, float]]

    @property
    def group(self) -> str:
        """A key of GROUPS: a tuned model's row starts with what it was tuned from."""
        start, tuned, _ = self.model.partition(": ")
        return start if tuned else "compared"


def published(protocol: Protocol) -> list[Published]:
    """The rows that were measured by a protocol, in the paper's order."""
    rows = json.loads(file_io.read_bytes(SCORES))["tables"][protocol]
    return [
        Published(protocol, row["model"], {task: (mean, std) for task, (mean, std) in row["scores"].items()})
        for row in rows
    ]

"""The scores that OpenCharacter published: its Tables 3, 4 and 5 (arXiv 2501.15427)."""

import json
from dataclasses import dataclass
from typing import Literal

from factory.resources import RESOURCES
from factory.storage import file_io

SCORES = file_io.join(str(RESOURCES), "data", "opencharacter-scores.json")
JUDGE = "gpt-4o-2024-08-06"
"""The one judge of all these scores; scores of other judges are not comparable."""
GROUPS = {"compared": "models compared with", "base": "tuned from base", "instruct": "tuned from instruct"}

PersonaGymProtocol = Literal["light", "full"]


@dataclass(frozen=True)
class PaperRow:
    """A row of the paper: mean and population standard deviation over 200 personas.

    `scores` has the five tasks, by PersonaGym's keys, and `PScore`.
    """

    table: PersonaGymProtocol
    model: str
    scores: dict[str, tuple[float, float]]

    @property
    def group(self) -> str:
        """A key of GROUPS; a tuned model's row starts with the kind of its base model."""
        start, tuned, _ = self.model.partition(": ")
        return start if tuned else "compared"


def published(protocol: PersonaGymProtocol) -> list[PaperRow]:
    """Return the rows that were measured with a protocol, in the paper's order."""
    rows = json.loads(file_io.read_bytes(SCORES))["tables"][protocol]
    return [
        PaperRow(protocol, row["model"], {task: (mean, std) for task, (mean, std) in row["scores"].items()})
        for row in rows
    ]

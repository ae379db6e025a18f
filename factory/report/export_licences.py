"""Whose licences an export stands under: those of its inputs, and those of the models that wrote it."""

import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict

from factory.storage import PROJECT

TABLE = Path(__file__).parent / "licences.yaml"
UNKNOWN = "unknown"
OTHER = "other"
"""What the Hub calls a licence that it has no name for."""


class Licence(BaseModel):
    """What is known of a data set or a family of models."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    match: str
    name: str
    licence: str
    hub: str | None
    asks: str
    link: str

    def fits(self, *names: str) -> bool:
        """Whether it is told by one of some names."""
        return any(re.search(self.match, name, re.IGNORECASE) for name in names)


SHIPPED = Licence(
    match="",
    name="this project's sample data",
    licence="Apache-2.0",
    hub="apache-2.0",
    asks="its notice is kept",
    link="https://www.apache.org/licenses/LICENSE-2.0",
)


@cache
def _known() -> dict[str, list[Licence]]:
    table = yaml.safe_load(TABLE.read_text(encoding="utf-8"))
    return {kind: [Licence(**entry) for entry in entries] for kind, entries in table.items()}


def licence_of_input(name: str, path: str, size: int) -> Licence | None:
    """What a file of personas or instructions stands under, as its path or its corpus's name tells; None: unknown.

    Args:
        name: the corpus's, or `personas`.
        path: the file's.
        size: bytes of the file, by which one that this project ships is known wherever a copy lies.
    """
    shipped = PROJECT / "data" / Path(path).name
    if "://" not in path and shipped.is_file() and shipped.stat().st_size == size:
        return SHIPPED
    return _first("inputs", path, name)


def licence_of_model(name: str) -> Licence | None:
    """What a model's outputs stand under; None: unknown."""
    return _first("models", name)


def _first(kind: Literal["inputs", "models"], *names: str) -> Licence | None:
    return next((licence for licence in _known()[kind] if licence.fits(*names)), None)


def on_the_hub(licences: Sequence[Licence | None]) -> str:
    """The one licence that applies to all, as the Hub names it; `other` where one is unknown or they differ."""
    names: set[Any] = {OTHER if licence is None else licence.hub for licence in licences} - {None}
    return str(names.pop()) if len(names) == 1 else OTHER

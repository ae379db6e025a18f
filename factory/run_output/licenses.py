"""What a card names, and whose licenses what is handed on stands under: its inputs', and its models'."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from factory.config import EMBEDDED, yaml12
from factory.resources import RESOURCES
from factory.storage import file_io

TABLE = Path(__file__).parent / "licenses.yaml"
UNKNOWN = "unknown"
OTHER = "other"
"""What the Hub calls a license that it has no name for."""
INPUTS_NAMED = 20
"""A card names so many files of an input, and says how many more there are."""


class License(BaseModel):
    """What is known of a data set or a family of models."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    match: str
    name: str
    license: str
    hub: str | None
    asks: str
    link: str

    def fits(self, *names: str) -> bool:
        """Whether it is told by one of some names."""
        return any(re.search(self.match, name, re.IGNORECASE) for name in names)


@dataclass(frozen=True)
class Input:
    """Files of one input that stand under one license."""

    what: str
    files: tuple[str, ...]
    more: int
    license: License | None


SHIPPED = License(
    match="",
    name="this project's sample data",
    license="Apache-2.0",
    hub="apache-2.0",
    asks="its notice is kept",
    link="https://www.apache.org/licenses/LICENSE-2.0",
)


@cache
def _known() -> dict[str, list[License]]:
    table = yaml12.read(TABLE)
    return {kind: [License(**entry) for entry in entries] for kind, entries in table.items()}


def license_of_input(name: str, path: str, size: int) -> License | None:
    """What a file of personas or instructions stands under, as its path or its corpus's name tells; None: unknown.

    Args:
        name: the corpus's, or `personas`.
        path: the file's.
        size: bytes of the file, by which one that this project ships is known wherever a copy lies.
    """
    shipped = RESOURCES / "data" / Path(path).name
    if "://" not in path and shipped.is_file() and shipped.stat().st_size == size:
        return SHIPPED
    return _first("inputs", path, name)


def license_of_model(name: str) -> License | None:
    """What a model's outputs stand under; None: unknown."""
    return _first("models", name)


def _first(kind: Literal["inputs", "models"], *names: str) -> License | None:
    return next((license for license in _known()[kind] if license.fits(*names)), None)


def inputs_by_license(what: str, name: str, files: Sequence[Mapping[str, Any]]) -> list[Input]:
    """Files of an input, together where they stand under the same license; none at all have an unknown one.

    Args:
        what: what a card calls it.
        name: the corpus's, or `personas`.
        files: `path` and `size` of each, as the manifest of its table has them.
    """
    grouped: dict[License | None, list[str]] = {}
    for file in files:
        license = license_of_input(name, file["path"], file["size"])
        grouped.setdefault(license, []).append(public_name(file["path"]))
    return [
        Input(what, tuple(names[:INPUTS_NAMED]), max(0, len(names) - INPUTS_NAMED), license)
        for license, names in grouped.items()
    ] or [Input(what, (), 0, None)]


def on_the_hub(licenses: Sequence[License | None]) -> str:
    """The one license that applies to all, as the Hub names it; `other` where one is unknown or they differ."""
    names: set[Any] = {OTHER if license is None else license.hub for license in licenses} - {None}
    return str(names.pop()) if len(names) == 1 else OTHER


def public_name(source: str) -> str:
    """A file or model as a card may name it: of a local path or a bucket, its last part alone; without its commit."""
    if source == EMBEDDED:
        return "HuggingFaceTB/SmolLM2-135M-Instruct"
    local = source.startswith(("/", ".", "~", *file_io.BUCKETS))
    return Path(source).name if local else source.partition("@")[0]

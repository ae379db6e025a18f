"""Licenses of inputs and models, and the public names of files, for data and model cards."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from factory.config import EMBEDDED, EMBEDDED_NAME, yaml12
from factory.resources import RESOURCES
from factory.storage import file_io

TABLE = Path(__file__).parent / "licenses.yaml"
OTHER = "other"
"""The Hub's name for a license without a name of its own."""
INPUTS_NAMED = 20
"""How many files of an input a card names; it counts the rest."""


class License(BaseModel):
    """The license of a data set or of a family of models."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    match: str
    name: str
    license: str
    hub: str | None
    terms: str
    link: str

    def matches(self, *names: str) -> bool:
        """Return whether one of some names is of this data set or family."""
        return any(re.search(self.match, name, re.IGNORECASE) for name in names)


@dataclass(frozen=True)
class LicensedInput:
    """Files of one input under the same license."""

    what: str
    files: tuple[str, ...]
    more: int
    license: License | None


SHIPPED = License(
    match="",
    name="this project's sample data",
    license="Apache-2.0",
    hub="apache-2.0",
    terms="keep the notice",
    link="https://www.apache.org/licenses/LICENSE-2.0",
)


@cache
def _read_table() -> dict[str, list[License]]:
    table = yaml12.read(TABLE)
    return {kind: [License(**entry) for entry in entries] for kind, entries in table.items()}


def license_of_input(name: str, path: str, size: int) -> License | None:
    """Return the license of a file of personas or instructions, or None if it is not known.

    Args:
        name: the name of the corpus, or `personas`.
        path: the path of the file.
        size: its size in bytes: with the name, it identifies copies of this project's sample data.
    """
    shipped = (RESOURCES / "data" / folder / Path(path).name for folder in ("", "example"))
    if "://" not in path and any(file.is_file() and file.stat().st_size == size for file in shipped):
        return SHIPPED
    return _find("inputs", path, name)


def license_of_model(name: str) -> License | None:
    """Return the license that applies to a model's outputs, or None if it is not known."""
    return _find("models", name)


def _find(kind: Literal["inputs", "models"], *names: str) -> License | None:
    return next((license for license in _read_table()[kind] if license.matches(*names)), None)


def characters_by_license(
    personas: Sequence[Mapping[str, Any]], given: Sequence[Mapping[str, Any]]
) -> list[LicensedInput]:
    """Group the files of personas and of given profiles by their license; a run may have one of them alone."""
    found = inputs_by_license("personas", "personas", personas) if personas or not given else []
    return found + (inputs_by_license("given profiles", "profiles", given) if given else [])


def inputs_by_license(what: str, name: str, files: Sequence[Mapping[str, Any]]) -> list[LicensedInput]:
    """Group the files of an input by their license; an input without files has an unknown one.

    Args:
        what: the input, as the card calls it.
        name: the name of the corpus, or `personas`.
        files: `path` and `size` of each, from the manifest of its table.
    """
    grouped: dict[License | None, list[str]] = {}
    for file in files:
        license = license_of_input(name, file["path"], file["size"])
        grouped.setdefault(license, []).append(public_name(file["path"]))
    return [
        LicensedInput(what, tuple(names[:INPUTS_NAMED]), max(0, len(names) - INPUTS_NAMED), license)
        for license, names in grouped.items()
    ] or [LicensedInput(what, (), 0, None)]


def combine_for_hub(licenses: Sequence[License | None]) -> str:
    """Return the Hub's name of the one license that applies to all; `other` if one is unknown or they differ."""
    names: set[Any] = {OTHER if license is None else license.hub for license in licenses} - {None}
    return str(names.pop()) if len(names) == 1 else OTHER


def public_name(source: str) -> str:
    """Return the name of a file or model for a card: no commit, and only the last part of a local path or bucket."""
    if source == EMBEDDED:
        return EMBEDDED_NAME
    local = source.startswith(("/", ".", "~", *file_io.BUCKETS))
    return Path(source).name if local else source.partition("@")[0]

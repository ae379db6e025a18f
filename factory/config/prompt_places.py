"""Where prompts come from: files of the user's own, a folder, or the built-in ones."""

import difflib
from dataclasses import dataclass
from typing import Annotated

from pydantic import AfterValidator

from factory.config.paths import InputPath
from factory.resources import RESOURCES

BUILT_IN = RESOURCES / "prompts"


@dataclass(frozen=True)
class PromptPlaces:
    """Where the user's prompts are; all others are the built-in ones."""

    folder: str | None = None
    files: tuple[tuple[str, str], ...] = ()
    """Names and paths; they come before the folder."""


NO_PLACES = PromptPlaces()
"""All prompts are the built-in ones."""


def prompt_names() -> list[str]:
    """Return the names of the built-in prompts."""
    return sorted(path.stem for path in BUILT_IN.glob("*.md") if path.stem != "README")


def describe_unknown(name: str) -> str:
    """Return that no prompt has this name, and the nearest one or all."""
    known = prompt_names()
    near = difflib.get_close_matches(name.lower(), known, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known)}"
    return f"no prompt is called {name!r}; {hint}"


def _names_are_known(files: dict[str, str]) -> dict[str, str]:
    if unknown := sorted(files.keys() - set(prompt_names())):
        raise ValueError(describe_unknown(unknown[0]))
    return files


PromptFiles = Annotated[dict[str, InputPath], AfterValidator(_names_are_known)]
"""Paths of prompts by the names of the built-in ones that they replace."""

"""Synthesis: personas, instructions, profiles and dialogues."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from factory.config.paths import Source
from factory.config.sections import Name, Sampling, Section, each_once

Strategy = Literal["generate", "rewrite"]
InstructionFormat = Literal["messages", "sharegpt", "lima", "alpaca", "dolly", "opencharacter", "ph-instruct"]


class Personas(Section):
    """The personas."""

    source: Source
    """JSONL, JSON, CSV, Parquet or text."""
    column: str = "persona"
    limit: int | None = Field(None, ge=1)
    """Read only the first rows of the source."""


class Instructions(Section):
    """One corpus of instructions."""

    corpus: Name
    """Its name in table names, such as `lima`."""
    source: Source
    format: Literal["auto"] | InstructionFormat = "auto"
    """The format of its rows; `auto` detects it from their columns."""
    limit: int | None = Field(None, ge=1)


class Profiles(Section):
    """Profiles, generated from the personas or given."""

    source: Source | None = None
    """Finished profiles: JSONL, JSON, CSV or Parquet with the columns `persona`, `name`, `age`, `gender`, `race`,
    `birth_place`, `appearance`, `experience`, `personality` and perhaps `language`, or character cards (V2 or V3) as
    JSON or PNG. With `personas` they join the generated profiles, without `personas` they are the only ones."""
    limit: int | None = Field(None, ge=1)
    """Read only the first rows of `source`."""
    language: str = "English"
    """The language of generated profiles, and of given ones that name none."""
    sampling: Sampling = Sampling()


class Dialogues(Section):
    """Which dialogues are generated."""

    strategies: Annotated[tuple[Strategy, ...], AfterValidator(each_once)] = Field(("generate",), min_length=1)
    characters_per_instruction: int = Field(3, ge=1)
    """The paper's n."""
    sampling: Sampling = Sampling()

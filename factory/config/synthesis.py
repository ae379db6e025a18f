"""Personas in, dialogues out."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from factory.config.paths import Source
from factory.config.sections import Name, Sampling, Section, each_once

Strategy = Literal["generate", "rewrite"]
InstructionFormat = Literal["messages", "sharegpt", "lima", "alpaca", "dolly", "opencharacter", "ph-instruct"]


class Personas(Section):
    """Where personas come from."""

    source: Source
    """JSONL, JSON, CSV, Parquet or text."""
    column: str = "persona"
    limit: int | None = Field(None, ge=1)
    """Read only the first rows of the source."""


class Instructions(Section):
    """One corpus of instructions."""

    corpus: Name
    """Its name in tables and folders, such as `lima`."""
    source: Source
    format: Literal["auto"] | InstructionFormat = "auto"
    """How its rows are laid out; `auto`: as their columns say."""
    limit: int | None = Field(None, ge=1)


class Profiles(Section):
    """How characters are written."""

    language: str = "English"
    sampling: Sampling = Sampling()


class Dialogues(Section):
    """Which dialogues are made."""

    strategies: Annotated[tuple[Strategy, ...], AfterValidator(each_once)] = Field(("generate",), min_length=1)
    characters_per_instruction: int = Field(3, ge=1)
    """The paper's n."""
    sampling: Sampling = Sampling()

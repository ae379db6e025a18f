"""The cast: what of a persona's row is fixed, drawn and counted."""

from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from factory.config.sections import Section


def _positive(shares: dict[str, float]) -> dict[str, float]:
    if shares and (min(shares.values()) <= 0 or sum(shares.values()) == float("inf")):
        raise ValueError("give each a number above 0")
    return shares


Shares = Annotated[dict[str, float], AfterValidator(_positive)]
"""Shares or weights by name; their sum does not matter."""


class LanguageChoice(Section):
    """The language of each profile: that of a column, or drawn."""

    column: str | None = None
    """A column with the English name of a language, such as `Korean`."""
    weights: Shares = Field(default_factory=dict)
    """Draw languages by a hash of the persona's id, such as `{Korean: 3, English: 1}`."""

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        if bool(self.column) == bool(self.weights):
            raise ValueError("give either `column` or `weights`")
        return self


class Quota(Section):
    """Shares of the values of a column among the accepted personas."""

    by: str
    """The column."""
    shares: Shares = Field(default_factory=dict)
    """The share of each value, whatever its case; rows with other values are rejected."""
    bands: tuple[float, ...] = ()
    """Borders of number ranges with equal shares: `[18, 30, 45]` are 18 to under 30, and 30 to under 45."""

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        if bool(self.shares) == bool(self.bands):
            raise ValueError(f"quota by {self.by!r}: give either `shares` or `bands`")
        if self.bands and (len(self.bands) < 2 or list(self.bands) != sorted(set(self.bands))):
            raise ValueError(f"quota by {self.by!r}: give at least two ascending borders")
        return self

"""Settings of the page on which people score answers (`make label`)."""

from typing import Self

from pydantic import Field, model_validator

from factory.config.sections import Name, Section


class Labels(Section):
    """Labels of people, by which `calibrate` corrects the judges. The page has the address and login of `chat`."""

    answers: int = Field(200, ge=1)
    """Answers to label, drawn from all that were judged; each of a pair counts. 400 find a judge's bias."""
    pair: tuple[Name, Name] | None = None
    """Two candidates whose answers to a question are shown beside each other, for their difference. null: one answer
    at a time, of all candidates, which is best for means."""
    raters: int = Field(1, ge=1)
    """People that label each answer. At least three should share the work."""
    gold: int = Field(10, ge=0, le=24)
    """Answers of known quality that each person labels first; they are not counted."""
    repeat_every: int = Field(20, ge=2)
    """After so many labels, a person sees one of these answers again, which shows how steady the labels are."""
    withdrawn: tuple[str, ...] = ()
    """Pseudonyms of people who took back their consent: `label` deletes their labels, and `calibrate` ignores them."""

    @model_validator(mode="after")
    def _pair_differs(self) -> Self:
        if self.pair and self.pair[0] == self.pair[1]:
            raise ValueError(f"pair has {self.pair[0]!r} twice; name two candidates")
        return self

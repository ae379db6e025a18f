"""The base class of quality rules."""

from abc import abstractmethod

from pydantic import BaseModel, ConfigDict

from factory.curation.rules.context import DialogueContext


class Rule(BaseModel):
    """A quality rule: its thresholds are its fields, and `find` is a pure function of them and a dialogue.

    It is no `config.Section`, because the settings import the rules.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True)

    @abstractmethod
    def find(self, dialogue: DialogueContext) -> str | None:
        """Return what breaks the rule, in words, or None."""

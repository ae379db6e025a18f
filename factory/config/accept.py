"""How many accepted rows a run gives, in place of how many rows go in."""

from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from factory.config.sections import Section

Goal = Annotated[int, Field(ge=1)]


def _numbers(value: Any) -> Any:
    numbers = list(value.values()) if isinstance(value, dict) else [value]
    if value is not None and not all(type(number) is int and number >= 1 for number in numbers):
        raise ValueError("give a whole number above 0, or one per table: {generate-lima: 500}")
    return value


class Accept(Section):
    """Exact numbers of accepted rows of `synthesize`.

    Rows are generated in the order of their ids until so many are accepted; accepted rows beyond them are rejected as
    `not_needed`. A run that cannot reach a number, for lack of input or budget, ends with status 1 and keeps all rows.
    """

    profiles: Goal | None = None
    """Accepted profiles, with the given ones of `profiles.source`; null: as many as the personas give."""
    dialogues: Annotated[Goal | dict[str, Goal] | None, BeforeValidator(_numbers)] = None
    """Accepted dialogues of the run, divided among its tables in proportion to their rows, or of each table by strategy
    and corpus: `{generate-lima: 500, rewrite-lima: 300}`. Tables that are not named, or all with null, have no
    limit."""

    def problem(self, tables: list[str], has_personas: bool, characters: int, candidates: int = 1) -> str | None:
        """Return what in a run's other settings contradicts these, in one line; None if nothing does.

        Args:
            tables: strategy and corpus of each of the run's tables of dialogues.
            has_personas: whether profiles are generated.
            characters: that each instruction needs; 0 without dialogues.
            candidates: that are generated for each dialogue.
        """
        if self.profiles and not has_personas:
            return "accept.profiles needs personas; the number of given profiles is set by profiles.limit"
        if self.profiles and self.profiles < characters:
            return (
                f"accept.profiles is {self.profiles}, and dialogues.characters_per_instruction {characters}; "
                "raise one, or lower the other"
            )
        if self.dialogues and not tables:
            return "accept.dialogues is set, but there are no instructions to make dialogues of; add a corpus"
        if self.dialogues and candidates > 1:
            return (
                f"accept.dialogues is set, and dialogues.candidates is {candidates}, of which all are generated before "
                "one is chosen; limit `instructions` instead, or set one of the two"
            )
        if isinstance(self.dialogues, dict) and (unknown := self.dialogues.keys() - {*tables}):
            return f"accept.dialogues names {min(unknown)!r}; the run has {', '.join(tables)}"
        return None

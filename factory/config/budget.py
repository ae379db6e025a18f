"""What a command may use before it ends as on a stop request."""

from pydantic import Field

from factory.config.sections import Section


class Budget(Section):
    """Limits of a command: it ends as on a stop request, and the same command goes on once the limit is raised.

    They hold for all tables of `synthesize`, of `evaluate` and so on, with what its earlier starts wrote.
    """

    cost: float | None = Field(None, gt=0)
    """US dollars for the tokens of endpoints. GPUs are not counted: limit their hours."""
    rows: int | None = Field(None, ge=1)
    """Rows that models answer, rejected ones included."""
    tokens: int | None = Field(None, ge=1)
    """Tokens of prompts and replies together, whatever engine."""
    hours: float | None = Field(None, gt=0)
    """Hours since the command was started, for training too; each start has them anew."""

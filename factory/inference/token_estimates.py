"""About how many tokens a row takes before there is one: by the lengths of prompts and inputs, and usual replies."""

from dataclasses import dataclass
from typing import Any

from factory.config import Sampling
from factory.inference.token_prices import cost_of, token_prices
from factory.records import Counts
from factory.text.amounts import dollars

CHARACTERS_PER_TOKEN = 4
"""Of English text, with today's tokenizers; the tokenizer of an endpoint is unknown."""
PERSONA_CHARACTERS, PROFILE_CHARACTERS, REPLY_CHARACTERS = 130, 1700, 1000
"""Average sizes of a persona, of the paper's profiles with their personas, and of a reply with what it answers."""
PROFILE_TOKENS, REPLY_TOKENS, EXAMPLES_TOKENS, VERDICT_TOKENS = 450, 250, 600, 200
"""Assumed lengths of a profile, a reply, the example replies for a rubric and a verdict; reasoning models write more. A
pilot run with --limit gives a better estimate."""


@dataclass(frozen=True)
class RowTokens:
    """Tokens of a row, all turns together."""

    prompt: float
    output: float

    @staticmethod
    def of(characters: float, output: float, sampling: Sampling, calls: float = 1) -> "RowTokens":
        """Return those of so many calls, each of so many characters in, and so many tokens out unless cut."""
        return RowTokens(calls * characters / CHARACTERS_PER_TOKEN, calls * min(output, sampling.max_tokens))

    def cost(self, engine: Any, rows: float) -> float:
        """Return what so many rows of an engine cost, in US dollars; not a number if its prices are not known."""
        prices = token_prices(engine)
        if prices is None:
            return float("nan")
        return cost_of(Counts(prompt_tokens=round(self.prompt * rows), output_tokens=round(self.output * rows)), prices)


def cost_line(cost: float) -> str:
    """Return the line of a dry run on the cost of all endpoints; empty if there are none."""
    if cost != cost:
        return "Cost of endpoints: not known, as a price or a number of rows is not"
    about = f"Cost of endpoints: about {dollars(cost)}, by usual lengths of replies; half or twice as much is possible"
    return about if cost else ""

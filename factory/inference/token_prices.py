"""What the tokens of an endpoint cost: by the config, else the list price of the model at that address.

List prices are those that came with the package `genai-prices`; nothing is asked over the network.
"""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any

from factory.config import Budget, OpenAIEngine, TokenPrices
from factory.errors import ConfigError
from factory.inference.engines.endpoint_key import config_key
from factory.records import Counts
from factory.text.redaction import redact_urls

EXAMPLE = "prices: {input: 0.15, output: 0.6}"
"""A line for the config, in US dollars per million tokens."""


def token_prices(engine: Any) -> TokenPrices | None:
    """Return the prices of an engine's tokens, nothing for engines that are no endpoints; None if they are not known.

    A model is known at the address of its provider only: a gateway or a server of one's own has prices of its own.
    """
    if not isinstance(engine, OpenAIEngine):
        return TokenPrices(input=0, output=0)
    prices = engine.prices or _list_prices(engine)
    if prices is None:
        return None
    factor, cached = _discount(engine), prices.input if prices.cached is None else prices.cached
    return TokenPrices(input=prices.input * factor, output=prices.output * factor, cached=cached * factor)


def cost_of(counts: Counts, prices: TokenPrices) -> float:
    """Return what rows cost, in US dollars."""
    cached = prices.input if prices.cached is None else prices.cached
    fresh = counts.prompt_tokens - counts.cached_tokens
    return (fresh * prices.input + counts.cached_tokens * cached + counts.output_tokens * prices.output) / 1e6


def check_prices(engines: Iterable[Any], budget: Budget, report: Callable[[str], object]) -> None:
    """Report each endpoint whose price is not known, once.

    Raises:
        ConfigError: there is one, and the budget limits the cost.
    """
    lines = (_unknown_price(engine) for engine in engines if token_prices(engine) is None)
    for line in dict.fromkeys(lines):
        if budget.cost is not None:
            raise ConfigError(f"budget.cost is {budget.cost:g}, and cannot be kept: {line}")
        report(line)


def _unknown_price(engine: OpenAIEngine) -> str:
    where = f"{engine.model!r} at {redact_urls(engine.base_url)}"
    return (
        f"{config_key(engine)}: the price of {where} is not known, and so is its cost; "
        f"add a line such as `{EXAMPLE}` to it, in US dollars per million tokens"
    )


def _discount(engine: OpenAIEngine) -> float:
    """Return the part of its prices that an endpoint charges: half of them for batches."""
    return 0.5 if engine.batch else 1.0


def _list_prices(engine: OpenAIEngine) -> TokenPrices | None:
    from genai_prices.data_snapshot import get_snapshot  # a third of a second

    try:
        _, model = get_snapshot().find_provider_model(engine.model, None, None, engine.base_url)
    except LookupError:
        return None
    listed = model.get_prices(datetime.now(UTC))
    given = {"input": listed.input_mtok, "output": listed.output_mtok, "cached": listed.cache_read_mtok}
    prices = {name: _first_tier(price) for name, price in given.items() if price is not None}
    return TokenPrices(**prices) if prices.keys() >= {"input", "output"} else None


def _first_tier(price: Any) -> float:
    """Return a list price; the other tiers are for prompts of 200,000 tokens and more, which no step writes."""
    return float(getattr(price, "base", price))

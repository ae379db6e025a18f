"""Prices of endpoints' tokens: the config's, else list prices for the address of the provider."""

import socket

import pytest

from factory.config import Budget, OpenAIEngine, ScriptedEngine, TokenPrices
from factory.errors import ConfigError
from factory.inference.token_prices import check_prices, cost_of, token_prices
from factory.records import Counts
from factory.text.amounts import dollars

HERE = "http://127.0.0.1:8000/v1"


def endpoint(model: str, base_url: str = "https://api.openai.com/v1", **settings) -> OpenAIEngine:
    return OpenAIEngine(kind="openai", model=model, base_url=base_url, **settings)


@pytest.mark.parametrize(
    ("model", "base_url"),
    [
        ("gpt-4o-mini", "https://api.openai.com/v1"),
        ("gpt-5-mini-2025-08-07", "https://api.openai.com/v1"),
        ("deepseek-reasoner", "https://api.deepseek.com/v1"),
        ("mistral-large-latest", "https://api.mistral.ai/v1"),
        ("gemini-2.5-pro", "https://generativelanguage.googleapis.com/v1beta/openai"),
    ],
)
def test_list_prices_are_known_without_a_network(model, base_url, monkeypatch):
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: pytest.fail("asks the network"))
    prices = token_prices(endpoint(model, base_url))
    assert 0 < prices.cached <= prices.input < prices.output


def test_batches_cost_half():
    usual, half = (token_prices(endpoint("gpt-4o-mini", batch=batch)) for batch in (False, True))
    assert half == TokenPrices(**{name: price / 2 for name, price in usual.model_dump().items()})


@pytest.mark.parametrize(("model", "base_url"), [("gpt-4o", HERE), ("none-such", "https://api.openai.com/v1")])
def test_price_is_not_guessed_from_a_models_name(model, base_url):
    assert token_prices(endpoint(model, base_url)) is None


def test_price_of_the_config_counts_before_the_list():
    prices = token_prices(endpoint("gpt-4o-mini", prices={"input": 1, "output": 2}))
    assert (prices.input, prices.cached, prices.output) == (1, 1, 2)


def test_own_engines_pay_for_no_tokens():
    assert cost_of(Counts(prompt_tokens=10**9), token_prices(ScriptedEngine(kind="scripted"))) == 0


def test_cached_and_generated_tokens_have_prices_of_their_own():
    counts = Counts(prompt_tokens=3_000_000, cached_tokens=1_000_000, output_tokens=500_000)
    assert cost_of(counts, TokenPrices(input=2, output=8, cached=0.5)) == pytest.approx(2 * 2 + 0.5 + 4)


def test_unknown_price_is_reported_once_with_the_line_to_add():
    lines: list[str] = []
    check_prices([endpoint("a", HERE), endpoint("a", HERE), endpoint("gpt-4o")], Budget(rows=5), lines.append)
    (line,) = lines
    assert line.startswith(f"engine: the price of 'a' at {HERE} is not known")
    assert "`prices: {input: 0.15, output: 0.6}`" in line


def test_budget_of_costs_needs_all_prices():
    with pytest.raises(ConfigError, match=r"budget.cost is 5, and cannot be kept: engine: the price of 'a'"):
        check_prices([endpoint("a", HERE)], Budget(cost=5), lambda line: None)


@pytest.mark.parametrize(
    ("amount", "text"),
    [(0, "0.00 USD"), (3e-6, "less than 0.0001 USD"), (0.0123, "0.0123 USD"), (1234.5, "1,234.50 USD")],
)
def test_dollars_are_readable(amount, text):
    assert dollars(amount) == text
    assert dollars(float("nan")) == "unknown"

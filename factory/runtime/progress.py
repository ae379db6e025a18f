"""What a person sees while a job runs: a live bar on a terminal, plain lines elsewhere."""

import os
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar
from rich.table import Table as Grid

from factory.records import Counts
from factory.storage.manifest import Timing
from factory.text.redaction import redact_urls

PLAIN_LINE_EVERY_S = 10
PLAIN_WIDTH = 140


class Progress:
    """Rows, tokens a second and time left of one step after another, and a summary of all."""

    def __init__(self) -> None:
        # A stream of its own: what libraries write to standard output goes elsewhere (`job.quiet`).
        terminal = os.fdopen(os.dup(1), "w")
        self._console = Console(file=terminal, highlight=False, markup=False, emoji=False)  # a path may hold [brackets]
        if not self._console.is_terminal:
            self._console.width = PLAIN_WIDTH
        self._bar: Bar | None = None
        self._lines: list[tuple[str, Mapping[str, Any], bool]] = []

    def say(self, text: str) -> None:
        """Print a line."""
        self._console.print(redact_urls(text), soft_wrap=True)

    def ask(self, question: str) -> bool:
        """Ask the person at the terminal; no answer is a no."""
        try:
            return self._console.input(question, markup=False).strip().lower() in ("y", "yes")
        except EOFError:
            return False

    def show(self, grid: Grid) -> None:
        """Print a table."""
        self._console.print(grid)

    def begin(self, steps: Sequence[str], rows: int | None, unit: str = "rows") -> None:
        """Start the clock of steps that run together over so many rows, where that is known."""
        self._step, self._rows = _joined(steps), rows
        self._started, self._clock = datetime.now(UTC), time.monotonic()
        self._earlier = self._made = Counts()
        self._told_at = 0.0
        self._startup = 0.0
        self._engines: set[float] = set()
        self._clock_at_resume = self._clock
        if self._console.is_terminal:
            columns = (
                SpinnerColumn(),
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("{task.fields[told]}"),
            )
            self._bar = Bar(*columns, TimeElapsedColumn(), console=self._console, transient=True)
            self._bar.start()
            self._task = self._bar.add_task(self._step, total=rows, told="starting")
        elif rows is not None:
            self.say(f"{self._step}: {rows:,} {unit} to do")

    def resume(self, counts: Counts) -> None:
        """Account for rows that an earlier run finished."""
        self._earlier = counts
        if counts.rows:
            self.say(f"{self._step}: going on, {counts.rows:,} of {self._rows:,} rows were there")
        if self._bar:
            self._bar.update(self._task, completed=counts.rows)

    def engine_up(self, at: float) -> None:
        """Note when (seconds since 1970) an engine was up, 0 where it does not tell; speed counts from the first."""
        self._startup = self._startup or max(0.0, at - self._started.timestamp())
        if at:
            self._engines.add(at)

    def resume_at(self, done: int) -> None:
        """Account for training steps that an earlier run finished."""
        self._earlier, self._clock_at_resume = Counts(ok=done), time.monotonic()
        if self._bar:
            self._bar.update(self._task, completed=done)

    def tell(self, done: int, told: str) -> None:
        """Show how far training is, in steps, and what its last step told."""
        now = time.monotonic()
        rows, before = self._rows or done, self._earlier.ok
        left = (rows - done) * (now - self._clock_at_resume) / max(done - before, 1)
        told = f"step {done:,}/{rows:,}, {told}, {_duration(left)} left"
        if self._bar:
            self._bar.update(self._task, completed=done, told=told)
        elif now - self._told_at >= PLAIN_LINE_EVERY_S or done == rows:
            self._told_at = now
            self.say(f"{self._step}: {told}")

    def advance(self, counts: Counts) -> None:
        """Account for rows that were just written."""
        now = time.monotonic()
        self._made += counts
        told = self._told(now)
        if self._bar:
            self._bar.update(self._task, completed=self._earlier.rows + self._made.rows, told=told)
        elif now - self._told_at >= PLAIN_LINE_EVERY_S:
            self._told_at = now
            self.say(f"{self._step}: {told}")

    def _told(self, now: float) -> str:
        seconds = max(now - self._clock - self._startup, 1e-3)
        rows = self._earlier.rows + self._made.rows
        rate = (
            f"{self._made.output_tokens / seconds:,.0f} tokens/s"
            if self._made.output_tokens
            else f"{self._made.rows / seconds:,.0f} rows/s"
        )
        rejects = f", {rows - self._earlier.ok - self._made.ok:,} rejected"
        if self._rows is None:
            return f"{rows:,} rows{rejects}, {rate}"
        left = (self._rows - rows) * seconds / max(self._made.rows, 1)
        return f"{rows:,}/{self._rows:,} rows{rejects}, {rate}, {_duration(left)} left"

    def timing(self, made: Counts) -> Timing:
        """The clock as it stands, for a table of which this run made so much."""
        up = sum(max(0.0, time.time() - at) for at in self._engines)
        return Timing(self._started, time.monotonic() - self._clock, made, self._startup, len(self._engines), up)

    def finish(self) -> None:
        """Stop the clock."""
        if self._bar:
            self._bar.stop()
            self._bar = None

    def done(self, manifest: Mapping[str, Any], skipped: bool = False) -> None:
        """Note a finished table for the summary."""
        self._lines.append((manifest["step"], manifest, skipped))
        if not self._console.is_terminal:
            how = "was finished before" if skipped else f"done in {_duration(manifest['seconds'])}"
            self.say(f"{manifest['step']}: {how}, {manifest['ok']:,} ok of {manifest['rows_in']:,}")

    def summary(self) -> None:
        """Print a table of all steps: counts by reason and speed."""
        grid = Grid(title="What was made", title_justify="left", box=None, padding=(0, 2, 0, 0))
        grid.add_column("table", no_wrap=True)
        for name in ("rows in", "ok", "rejected", "tokens in", "cached", "tokens out", "tokens/s", "time"):
            grid.add_column(name, justify="right")
        for step, manifest, skipped in self._lines:
            lost = sum(manifest["rejected"].values())
            tokens_in = manifest["prompt_tokens"]
            cached = f"{manifest['cached_tokens'] / tokens_in:.0%}" if tokens_in else ""
            speed = "" if skipped or not manifest["output_tokens"] else f"{manifest['output_tokens_per_second']:,.0f}"
            grid.add_row(
                step,
                f"{manifest['rows_in']:,}",
                f"{manifest['ok']:,}",
                f"{lost:,}",
                f"{tokens_in:,}" if tokens_in else "",
                cached,
                f"{manifest['output_tokens']:,}" if tokens_in else "",
                speed,
                "skipped" if skipped else _duration(manifest["seconds"]),
            )
        self._console.print(grid)
        reasons = [
            f"  {step}: " + ", ".join(f"{reason} {number:,}" for reason, number in manifest["rejected"].items())
            for step, manifest, _ in self._lines
            if manifest["rejected"]
        ]
        if reasons:
            self.say("Rejected, by reason (each row is kept with its raw text):")
            for line in reasons:
                self.say(line)


class Silent(Progress):
    """Shows nothing: for work that is only rehearsed."""

    def __init__(self) -> None:
        self._console = Console(quiet=True)
        self._bar = None
        self._lines = []

    def done(self, manifest: Mapping[str, Any], skipped: bool = False) -> None:
        """Note nothing: the manifest may be one that is made up."""


def _joined(steps: Sequence[str]) -> str:
    return steps[0] if len(steps) == 1 else f"{steps[0].partition('/')[0]} ({len(steps)} tables)"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"

"""When each worker of a cluster started and ended, as lines of text."""

from collections.abc import Sequence
from dataclasses import dataclass

WIDTH = 48


@dataclass(frozen=True)
class WorkerLifetime:
    """Start and end of a worker node, in seconds since 1970; the end is None while it runs."""

    name: str
    start: float
    end: float | None


def timeline(workers: Sequence[WorkerLifetime], began: float, now: float) -> list[str]:
    """Return a line per worker: its start and end, as minutes:seconds since the head started, and a bar.

    Args:
        workers: all workers, including ended ones.
        began: start of the head (seconds since 1970).
        now: end of the timeline.
    """
    if not workers:
        return ["No workers so far."]
    span = max(now - began, 1.0)
    width = max(len(worker.name) for worker in workers)
    lines = [f"{'worker':<{width}}  {'start':>7}  {'end':>7}"]
    for worker in sorted(workers, key=lambda worker: worker.start):
        first, last = (round((moment - began) / span * WIDTH) for moment in (worker.start, worker.end or now))
        bar = ("·" * first + "█" * max(1, last - first)).ljust(WIDTH, "·")[:WIDTH]
        end = _clock(worker.end - began) if worker.end else "running"
        lines.append(f"{worker.name:<{width}}  {_clock(worker.start - began):>7}  {end:>7}  {bar}")
    return [*lines, f"Maximum: {max_concurrent(workers)} at the same time, over {_clock(span)}."]


def max_concurrent(workers: Sequence[WorkerLifetime]) -> int:
    """Return the maximum number of workers that ran at the same time."""
    changes = sorted([(worker.start, 1) for worker in workers] + [(worker.end, -1) for worker in workers if worker.end])
    running = maximum = 0
    for _, change in changes:
        running += change
        maximum = max(maximum, running)
    return maximum


def _clock(seconds: float) -> str:
    minutes, rest = divmod(max(0, round(seconds)), 60)
    return f"{minutes}:{rest:02}"

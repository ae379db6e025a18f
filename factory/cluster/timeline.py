"""When each worker of a cluster came and went, as lines of text."""

from collections.abc import Sequence
from dataclasses import dataclass

WIDTH = 48


@dataclass(frozen=True)
class Life:
    """A worker node's time: seconds since 1970; None where it still runs."""

    name: str
    came: float
    went: float | None


def timeline(lives: Sequence[Life], began: float, now: float) -> list[str]:
    """A line a worker: when it came and went, as minutes:seconds since the head began, and a bar.

    Args:
        lives: the workers that were ever there.
        began: when the head came (seconds since 1970).
        now: the end of the time that is shown.
    """
    if not lives:
        return ["No worker has come yet."]
    span = max(now - began, 1.0)
    width = max(len(life.name) for life in lives)
    lines = [f"{'worker':<{width}}  {'came':>7}  {'went':>7}"]
    for life in sorted(lives, key=lambda life: life.came):
        first, last = (round((moment - began) / span * WIDTH) for moment in (life.came, life.went or now))
        bar = ("·" * first + "█" * max(1, last - first)).ljust(WIDTH, "·")[:WIDTH]
        went = _clock(life.went - began) if life.went else "there"
        lines.append(f"{life.name:<{width}}  {_clock(life.came - began):>7}  {went:>7}  {bar}")
    return [*lines, f"At most {most_at_once(lives)} at once, over {_clock(span)}."]


def most_at_once(lives: Sequence[Life]) -> int:
    """How many workers there were at the busiest moment."""
    moments = sorted([(life.came, 1) for life in lives] + [(life.went, -1) for life in lives if life.went])
    there = most = 0
    for _, change in moments:
        there += change
        most = max(most, there)
    return most


def _clock(seconds: float) -> str:
    minutes, rest = divmod(max(0, round(seconds)), 60)
    return f"{minutes}:{rest:02}"

"""The state of an engine's replicas at one moment, for people and metrics."""

from collections.abc import Sequence
from dataclasses import dataclass

Lives = Sequence[tuple[float, float | None]]
"""When each replica came up and ended, in seconds since 1970; None while it is up."""


@dataclass(frozen=True)
class PoolState:
    """The replicas of one engine."""

    up: int
    wanted: int
    slots: int
    """Requests that the replicas that are up can answer at the same time."""
    used: int
    """Slots with a request."""
    open: int
    """Requests that are read and not answered."""
    lives: Lives = ()

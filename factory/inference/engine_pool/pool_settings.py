"""What a pool is given: how to start a replica, what one needs, and how many there may be."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from factory.inference.engines.backend import Replica

SLOTS_AHEAD = 1.25
"""Requests per slot that a replica is given at most; those above 1 wait inside it for the next free slot."""
REPLICAS_PER_ROUTER = 16
"""A router takes 0.4 ms of CPU per request."""
MIN_WINDOW = 6
"""Open requests per slot. A shard ends with its longest reply, and until then other shards must fill its slots: 4 keep
90 to 97 % of them in use at 16 replicas (lognormal lengths, sigma 0.8), 6 all, for shards of 16 to 4,096 rows."""
IDLE_S = 120.0
"""A replica that is not needed ends after so long without a request: longer than the steps between two tables."""

STALL_S = 1800.0
"""A replica that answers none of its requests for so long hangs, and is replaced."""
EXTRA_SHARDS = 2
"""Shards that wait at a router for the next that ends."""
MAX_SHARDS = 1024
"""Shards that a router works on at a time, whatever their size: Ray Data keeps a thread for each."""


@dataclass(frozen=True)
class PoolSettings:
    """The settings of one engine's pool."""

    key: str
    """Distinguishes the engines of a run; requests with the same key may go to the same replicas."""
    model: str
    """For metrics."""
    start: Callable[[], Replica]
    """Starts an engine, within the actor."""
    slots: int
    """Requests that a replica answers at the same time."""
    replicas: tuple[int, int]
    """The fewest and the most."""
    resources: Mapping[str, float] = field(default_factory=dict)
    """Of a replica, all on one node."""
    ray_options: Mapping[str, Any] = field(default_factory=dict)
    """More options of a replica's actor."""
    idle_s: float = IDLE_S
    """How long a replica that is not needed stays."""


@dataclass(frozen=True)
class RouterSizes:
    """How many routers an engine has, and how much each of them holds."""

    routers: int
    shards: int
    """Shards that a router works on at a time."""
    slots: int
    """Slots of each replica, for one router."""


def router_sizes(settings: PoolSettings, rows: int, shard_rows: int, longest_to_mean: float = 0) -> RouterSizes:
    """Return the sizes of an engine's routers, enough for the most replicas it may have.

    Args:
        settings: of the engine's pool.
        rows: all requests.
        shard_rows: requests per shard, on average.
        longest_to_mean: the longest reply over the mean one, both in tokens; 0 if unknown.
    """
    routers = math.ceil(settings.replicas[1] / REPLICAS_PER_ROUTER)
    window = max(MIN_WINDOW, longest_to_mean + 1.5) * settings.slots * settings.replicas[1] / routers
    shards = 1 + math.ceil(min(window, rows / routers) / max(1, shard_rows))
    return RouterSizes(routers, min(shards, MAX_SHARDS), math.ceil(settings.slots / routers))


def wanted_replicas(requests: int, slots: int, replicas: tuple[int, int]) -> int:
    """Return how many replicas so many unanswered requests need: between the fewest and the most, and none for none."""
    fewest, most = replicas
    return max(fewest, min(most, math.ceil(requests / slots))) if requests > 0 else 0

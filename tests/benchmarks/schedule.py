"""The useful share of a run's time with many engines, simulated with the code's own sizes of shards and routers.

A replica decodes up to 256 rows; a step with b of them takes `FIXED + (1 - FIXED) * b / 256` of a full one. Replies
have lognormal lengths. The useful share is the time of full batches from the start to the end, over the simulated
time, in which engines start, wait for the last replies of the profiles, and for those of the dialogues.

Before, shards went to replicas whole, and each of the two steps started engines of its own.
"""

import heapq
import math
from collections.abc import Callable

import numpy as np

from factory.inference.engine_pool.pool_settings import EXTRA_SHARDS, PoolSettings, router_sizes
from factory.planning.constants import FIXED_ON_GPU
from factory.storage.tables import rows_per_shard

SLOTS = 256
TOKENS, SIGMA, MAX_TOKENS = 450, 0.8, 2048
TOKENS_PER_S = 2500.0
"""Of a replica, about what eight H100s do with 70B."""
START_S = 240.0
"""Until a replica with 70B is up."""
FIXED = FIXED_ON_GPU[1]
MOST_ROWS = 2_000_000
"""That are simulated one by one; more make the ends a smaller part, so these give too small a share."""
PAPER = (20_000, 306_252)
"""Profiles and dialogues of the paper."""
PAPER_REPLICAS = (8, 16)


def drain(rows: int, slots: int, shard_rows: int, shards: int) -> float:
    """Return the seconds of rows on slots that are loaded evenly, with so many shards open at a time."""
    rng = np.random.default_rng(0)
    lengths = np.minimum(rng.lognormal(math.log(TOKENS) - SIGMA**2 / 2, SIGMA, rows), MAX_TOKENS).tolist()
    left = [min(shard_rows, rows - start) for start in range(0, rows, shard_rows)]
    admitted, begun, clock, seconds = min(shards, len(left)) * shard_rows, 0, 0.0, 0.0
    running: list[tuple[float, int]] = []  # where the clock, in tokens of each running row, is at a row's end
    while begun < rows or running:
        while begun < min(admitted, rows) and len(running) < slots:
            heapq.heappush(running, (clock + lengths[begun], begun))
            begun += 1
        end, row = heapq.heappop(running)
        seconds += (end - clock) * (FIXED + (1 - FIXED) * (len(running) + 1) / slots)
        clock = end
        left[row // shard_rows] -= 1
        admitted += shard_rows * (not left[row // shard_rows])
    return seconds * SLOTS / TOKENS_PER_S


def routed(rows: int, replicas: int) -> float:
    """Return the seconds of rows that routers give to replicas one by one; the router with the most shards counts."""
    shard_rows = rows_per_shard(rows)
    sizes = router_sizes(
        PoolSettings("", "", lambda: None, SLOTS, (1, replicas)), rows, shard_rows, MAX_TOKENS / TOKENS
    )
    shards = math.ceil(rows / shard_rows / sizes.routers)
    if sizes.routers > 1:  # it may have begun its last shards when the others had none left
        shards += EXTRA_SHARDS
    share = min(rows, shards * shard_rows)
    return _scaled(share, SLOTS * replicas // sizes.routers, shard_rows, sizes.shards)


def whole_shards(rows: int, replicas: int) -> float:
    """Return the seconds of rows whose shards go to replicas whole; the replica with the most shards counts."""
    shard_rows = rows_per_shard(rows)
    share = math.ceil(math.ceil(rows / shard_rows) / replicas) * shard_rows
    return _scaled(min(rows, share), SLOTS, shard_rows, 1 + math.ceil(1.25 * SLOTS / shard_rows))


def _scaled(rows: int, slots: int, shard_rows: int, shards: int) -> float:
    """Simulate at most `MOST_ROWS`, and add the rest at the speed of full batches."""
    some = min(rows, MOST_ROWS)
    return drain(some, slots, shard_rows, shards) + (rows - some) * _mean_length() * SLOTS / slots / TOKENS_PER_S


def _mean_length() -> float:
    draws = np.random.default_rng(1).lognormal(math.log(TOKENS) - SIGMA**2 / 2, SIGMA, 1_000_000)
    return float(np.minimum(draws, MAX_TOKENS).mean())


def useful_share(tables: tuple[int, ...], replicas: int, seconds: Callable[[int, int], float], starts: int) -> float:
    """Return the part of a run in which its engines do useful work."""
    ideal = sum(tables) * _mean_length() / TOKENS_PER_S / replicas
    return ideal / (starts * START_S + sum(seconds(rows, replicas) for rows in tables))


def measure(say: Callable[[str], None]) -> dict[str, float]:
    """Return the useful share of the paper's recipe and of larger runs, before and after.

    `one_table` is the paper's as if its dialogues did not wait for the last profiles.
    """
    figures = {}
    runs = [("paper", PAPER, PAPER_REPLICAS)]
    runs += [(f"{rows // 10**6}M", (rows // 10, rows), (8, 64, 1000)) for rows in (10**7, 10**8, 10**9)]
    for name, tables, sizes in runs:
        for replicas in sizes:
            after, before = useful_share(tables, replicas, routed, 1), useful_share(tables, replicas, whole_shards, 2)
            say(f"  {name} on {replicas:,} replicas: {before:.2f} before, {after:.2f} now")
            figures |= {f"{name}_{replicas}_before": before, f"{name}_{replicas}": after}
    for replicas in PAPER_REPLICAS:
        figures[f"paper_{replicas}_one_table"] = useful_share((sum(PAPER),), replicas, routed, 1)
    return figures

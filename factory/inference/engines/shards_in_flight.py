"""How many shards of work an engine replica holds at a time."""

import math

ROWS_PER_SEQUENCE = 5
"""Rows open in a replica for each of its concurrent sequences.

A shard is done with its longest reply, and until then the sequences of its other rows must find rows of other shards:
with 1.25 rows they were in use 46 % of the time (shards of 16 rows, lognormal lengths, sigma 0.8), with 5 over 90 %.
"""


def shards_in_flight(max_sequences: int, shard_rows: int) -> tuple[int, int]:
    """Return how many shards a replica works on at a time, and how many are assigned to it.

    Ray Data adds an actor to its pool once the assigned tasks are 1.75 times those that its actors can run at a time
    (`actor_pool_util_upscaling_threshold`), so twice as many are assigned: with fewer the pool never grows.

    Args:
        max_sequences: the replica's concurrent sequences or requests.
        shard_rows: rows per shard, on average.
    """
    concurrent = 1 + math.ceil(ROWS_PER_SEQUENCE * max_sequences / shard_rows)
    return concurrent, 2 * concurrent

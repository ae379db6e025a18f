"""How many shards of work a client of an endpoint holds at a time."""

import math

ROWS_PER_REQUEST = 5
"""Rows open in a client for each request that it may send at the same time.

A shard is done with its longest reply, and until then the requests of its other rows must be rows of other shards:
with 1.25 rows 46 % of them were open at a time (shards of 16 rows, lognormal lengths, sigma 0.8), with 5 over 90 %.
"""


def shards_in_flight(max_requests: int, shard_rows: int) -> tuple[int, int]:
    """Return how many shards a client works on at a time, and how many are assigned to it.

    Twice as many are assigned, so that the next ones are there when others end.

    Args:
        max_requests: that it may send at the same time.
        shard_rows: rows per shard, on average.
    """
    concurrent = 1 + math.ceil(ROWS_PER_REQUEST * max_requests / shard_rows)
    return concurrent, 2 * concurrent

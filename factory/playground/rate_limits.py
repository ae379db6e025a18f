"""Limits on the requests of one address, and on texts generated at the same time."""

import math

from cachetools import LRUCache

MINUTE_S = 60.0
FIRST_ESTIMATE_S = 10.0
"""Estimated duration of a text until the first one is finished."""
MAX_ADDRESSES = 10_000
"""Number of addresses that are remembered; the least recently used one is forgotten first."""


class RateLimiter:
    """Limits the requests per minute of each address (sliding window), whatever sessions it names.

    Args:
        per_minute: maximum number of requests of an address.
        addresses: number of addresses that are remembered.
    """

    def __init__(self, per_minute: int, addresses: int = MAX_ADDRESSES) -> None:
        self._per_minute = per_minute
        self._times: LRUCache[str, list[float]] = LRUCache(addresses)
        """When each address sent its requests of the last minute, on a monotonic clock."""

    def admit(self, address: str, now: float) -> int:
        """Count a request and return 0, or return the seconds until the address may send another."""
        times = self._times[address] = [at for at in self._times.get(address, ()) if now - at < MINUTE_S]
        if len(times) >= self._per_minute:
            return max(1, math.ceil(times[0] + MINUTE_S - now))
        times.append(now)
        return 0

    def refund(self, address: str) -> None:
        """Uncount the last request of an address, which was not answered."""
        if times := self._times.get(address):
            times.pop()


class ConcurrencyLimit:
    """Limits the texts that are generated at the same time, over all sessions.

    Args:
        limit: maximum number of texts.
    """

    def __init__(self, limit: int) -> None:
        self._free = limit
        self._began: list[float] = []
        self._average_s = FIRST_ESTIMATE_S

    def acquire(self, now: float, number: int) -> bool:
        """Reserve slots for a number of texts; all or none."""
        if number > self._free:
            return False
        self._free -= number
        self._began += [now] * number
        return True

    def release(self, now: float, began: float) -> None:
        """Free a slot that was reserved at `began`."""
        self._free += 1
        self._began.remove(began)
        self._average_s += 0.2 * (now - began - self._average_s)

    def wait_s(self, now: float) -> int:
        """Estimate the seconds until a slot is free: the oldest text is assumed to take the average duration."""
        oldest = min(self._began, default=now)
        return max(1, math.ceil(oldest + self._average_s - now))

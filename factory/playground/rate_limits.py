"""How much one address may ask for, and how much all of them may at one time."""

import math
from dataclasses import dataclass, field

from cachetools import LRUCache

MINUTE_S = 60.0
GUESS_S = 10.0
"""How long a text takes, until the first one is done."""
ADDRESSES = 10_000
"""How many addresses are remembered; the one that asked least recently is forgotten first."""


@dataclass
class Allowance:
    """What one address asked for in the last minute."""

    asked: list[float] = field(default_factory=list)
    """When, in seconds of a clock that only goes forward."""

    def wait_s(self, now: float, a_minute: int) -> int:
        """Seconds until the address may ask again; 0 counts as asking now."""
        self.asked = [at for at in self.asked if now - at < MINUTE_S]
        if len(self.asked) >= a_minute:
            return max(1, math.ceil(self.asked[0] + MINUTE_S - now))
        self.asked.append(now)
        return 0


class Allowances:
    """The allowance of each address, whatever sessions it says that it has.

    Args:
        a_minute: how often an address may ask.
        addresses: how many are remembered.
    """

    def __init__(self, a_minute: int, addresses: int = ADDRESSES) -> None:
        self._a_minute = a_minute
        self._of: LRUCache[str, Allowance] = LRUCache(addresses)

    def wait_s(self, address: str, now: float) -> int:
        """Return the seconds until an address may ask again; 0 counts as asking now."""
        allowance = self._of.get(address) or Allowance()
        self._of[address] = allowance
        return allowance.wait_s(now, self._a_minute)

    def give_back(self, address: str) -> None:
        """Take back the last count of an address: it was not answered."""
        if (allowance := self._of.get(address)) and allowance.asked:
            allowance.asked.pop()


class Places:
    """The texts that may be written at one time, for all sessions.

    Args:
        number: how many.
    """

    def __init__(self, number: int) -> None:
        self._free = number
        self._began: list[float] = []
        self._usual_s = GUESS_S

    def take(self, now: float, number: int) -> bool:
        """Take places, all or none."""
        if number > self._free:
            return False
        self._free -= number
        self._began += [now] * number
        return True

    def give_back(self, now: float, began: float) -> None:
        """Give one back that was taken at `began`."""
        self._free += 1
        self._began.remove(began)
        self._usual_s += 0.2 * (now - began - self._usual_s)

    def wait_s(self, now: float) -> int:
        """About how many seconds until one is free: what the oldest text still takes, if it takes as long as others."""
        oldest = min(self._began, default=now)
        return max(1, math.ceil(oldest + self._usual_s - now))

"""How much one session may ask for, and how much all of them may at one time."""

import math
from dataclasses import dataclass, field

MINUTE_S = 60.0
GUESS_S = 10.0
"""How long a text takes, until the first one is done."""


@dataclass
class Allowance:
    """What one session asked for in the last minute. It lives in the session's state, and nobody else's."""

    asked: list[float] = field(default_factory=list)
    """When, in seconds of a clock that only goes forward."""
    talking: bool = False
    """Whether a reply to the session is being written."""

    def wait_s(self, now: float, a_minute: int) -> int:
        """Seconds until the session may ask again; 0 counts as asking now."""
        self.asked = [at for at in self.asked if now - at < MINUTE_S]
        if len(self.asked) >= a_minute:
            return max(1, math.ceil(self.asked[0] + MINUTE_S - now))
        self.asked.append(now)
        return 0


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

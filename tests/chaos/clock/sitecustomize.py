"""Python imports this at its start if its folder is on PYTHONPATH: the wall clock is off by what a file says.

`datetime.now` and processes in other languages keep the real one. The functions are the module's own, so that Ray can
pickle what refers to them.

Ray's client server, which nothing here uses, keeps the real clock too: gRPC's C code would hold its deadlines against
that one, and its loop in Python would never wait, which took 80 % of a core from the engines.
"""

import os
import sys
import time
from pathlib import Path

FILE = os.environ.get("CHAOS_CLOCK", "")
LOOK_EVERY_S = 1.0
_time, _time_ns, _monotonic = time.time, time.time_ns, time.monotonic
_looked, _shift = float("-inf"), 0


def _seconds() -> int:
    global _looked, _shift
    if _monotonic() - _looked > LOOK_EVERY_S:
        file = Path(FILE)
        _looked, _shift = _monotonic(), int(file.read_text() or 0) if file.exists() else 0
    return _shift


def shifted_time() -> float:
    """Return the seconds since 1970 by the shifted clock."""
    return _time() + _seconds()


def shifted_time_ns() -> int:
    """Return the nanoseconds since 1970 by the shifted clock."""
    return _time_ns() + _seconds() * 10**9


if FILE and "ray.util.client.server" not in sys.orig_argv:
    time.time, time.time_ns = shifted_time, shifted_time_ns

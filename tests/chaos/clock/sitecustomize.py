"""Python imports this at its start if its folder is on PYTHONPATH: the wall clock is off by what a file says.

`datetime.now` and processes in other languages keep the real one.
"""

import os
import time
from pathlib import Path

FILE = os.environ.get("CHAOS_CLOCK", "")
LOOK_EVERY_S = 1.0


def _shifted(now, scale, file):
    looked, shift = float("-inf"), 0

    def read():
        nonlocal looked, shift
        if time.monotonic() - looked > LOOK_EVERY_S:
            looked, shift = time.monotonic(), int(file.read_text() or 0) if file.exists() else 0
        return now() + shift * scale

    return read


if FILE:
    time.time = _shifted(time.time, 1, Path(FILE))
    time.time_ns = _shifted(time.time_ns, 10**9, Path(FILE))

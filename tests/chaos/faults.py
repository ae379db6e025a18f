"""Injected faults, the work in flight at that moment, and the recoveries."""

from dataclasses import dataclass

from rich.table import Table


@dataclass
class Fault:
    """A fault and the recovery from it.

    A row is done once its shard is written, since a shard is written as a whole. Rows in flight were
    requested from an engine but are in no written shard, whether answered or not: a fault may cause
    their repetition. They are counted after the fault (when a killed driver's clients are silent, or S3
    is back); rows requested during an S3 outage are in flight too. In training they are the steps since
    the last checkpoint.
    """

    kind: str
    scenario: str
    at_s: float
    """Seconds since the start of the scenario."""
    victim: str
    files: int
    """Number of files written before."""
    struck: float
    """Time on the monotonic clock."""
    in_flight: int | None
    """Number of rows or steps; None if it cannot be observed outside the engine."""
    back_s: float | None = None
    """Seconds until the scenario's next file."""
    how: str = "by itself"


def in_flight(faults: list[Fault]) -> int:
    """Return the maximum number of repetitions that all faults together may cause."""
    return sum(fault.in_flight or 0 for fault in faults)


def faults_table(faults: list[Fault]) -> Table:
    """Return the table of faults and recoveries."""
    columns = ("no.", "scenario", "fault", "victim", "at", "files", "in flight", "recovered after", "how")
    table = Table(*columns, title="Faults")
    for number, fault in enumerate(faults, 1):
        count = "" if fault.in_flight is None else str(fault.in_flight)
        when, back = f"{fault.at_s:.0f} s", f"{fault.back_s or 0:.0f} s"
        what = (fault.scenario, fault.kind, fault.victim)
        table.add_row(str(number), *what, when, str(fault.files), count, back, fault.how)
    return table

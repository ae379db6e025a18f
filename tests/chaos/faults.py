"""What was done to a run, what was in flight at that moment, and how it came back."""

from dataclasses import dataclass

from rich.table import Table


@dataclass
class Fault:
    """One fault, and the way back from it.

    A row is done once the shard that it stands in is written, since a shard is written whole. In
    flight are the rows that an engine was asked for and that stand in no written shard, answered or
    not: what a fault may have asked again. They are counted when the fault has struck (a killed
    driver's clients are silent by then, S3 is there again); what is asked for while S3 is away is
    in flight too. In training they are the steps since the last checkpoint.
    """

    kind: str
    act: str
    at_s: float
    """Seconds since the act began."""
    victim: str
    files: int
    """What had been written by then."""
    struck: float
    """On the monotonic clock."""
    in_flight: int | None
    """Rows or steps; None where nobody outside the engine knows them."""
    back_s: float | None = None
    """Seconds until the next of the act's own files."""
    how: str = "by itself"


def in_flight(faults: list[Fault]) -> int:
    """What all faults together may have had done again."""
    return sum(fault.in_flight or 0 for fault in faults)


def shown(faults: list[Fault]) -> Table:
    """The table of faults and recoveries."""
    table = Table("no.", "act", "fault", "whom", "at", "files there", "in flight", "back after", "how", title="Faults")
    for number, fault in enumerate(faults, 1):
        flying = "" if fault.in_flight is None else str(fault.in_flight)
        when, back = f"{fault.at_s:.0f} s", f"{fault.back_s or 0:.0f} s"
        table.add_row(str(number), fault.act, fault.kind, fault.victim, when, str(fault.files), flying, back, fault.how)
    return table

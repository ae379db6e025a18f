"""What the routers of an engine last said of themselves."""

import time
from dataclasses import dataclass, replace

SILENCE_S = 60.0
"""A router that has said nothing for so long is dead; they report twice a second."""


@dataclass(frozen=True)
class RouterReport:
    """What a router says of itself."""

    open: int
    """Requests that it holds."""
    answered: int
    """Rows that need no answer any more, all shards together."""
    loads: dict[int, int]
    """Requests at each replica, by its number."""
    answered_by: dict[int, int]
    """Requests that each replica has answered."""
    at: float = 0.0
    """When it came, by the pool's clock."""


class RouterReports:
    """The last report of each router, by stage and router."""

    def __init__(self) -> None:
        self._reports: dict[tuple[str, str], RouterReport] = {}

    def take(self, stage: str, router: str, report: RouterReport) -> None:
        """Replace a router's report."""
        self._reports[stage, router] = replace(report, at=time.monotonic())

    def forget(self, stage: str) -> None:
        """Forget the routers of a stage."""
        self._reports = {key: report for key, report in self._reports.items() if key[0] != stage}

    def empty_silent(self, now: float) -> None:
        """Empty the reports of routers that are dead: another one does the shards again that they held."""
        for key, report in self._reports.items():
            if now - report.at > SILENCE_S:
                self._reports[key] = replace(report, open=0, loads={})

    @property
    def answered(self) -> int:
        """Rows that need no answer any more."""
        return sum(report.answered for report in self._reports.values())

    @property
    def open(self) -> int:
        """Requests that routers hold."""
        return sum(report.open for report in self._reports.values())

    def load(self, replica: int) -> int:
        """Return the requests at a replica."""
        return sum(report.loads.get(replica, 0) for report in self._reports.values())

    def answered_by(self, replica: int) -> int:
        """Return the requests that a replica has answered."""
        return sum(report.answered_by.get(replica, 0) for report in self._reports.values())

"""Accepted and rejected rows by stratum: a value of a quota, a drawn trait or a language."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from factory.records import content_id

MAX_STRATA = 1000
"""How many values are counted; of more, which a column of languages may have, those with the lowest hashes."""
VALUE_CHARACTERS = 60
Stratum = tuple[str, str]
"""The name and the value, such as `sex` and `female`."""


@dataclass
class StrataCounts:
    """Accepted and rejected rows of each stratum."""

    counts: dict[Stratum, tuple[int, int]] = field(default_factory=dict)

    def add(self, strata: Iterable[str | None], accepted: Iterable[bool]) -> None:
        """Count rows by their strata, each a JSON object of texts or None."""
        numbers: dict[tuple[str, bool], int] = {}
        for text, is_accepted in zip(strata, accepted, strict=True):
            if text:
                numbers[text, is_accepted] = numbers.get((text, is_accepted), 0) + 1
        for (text, is_accepted), number in numbers.items():
            for name, value in json.loads(text).items():
                stratum = (name[:VALUE_CHARACTERS], value[:VALUE_CHARACTERS])
                ok, rejected = self.counts.get(stratum, (0, 0))
                self.counts[stratum] = (ok + number * is_accepted, rejected + number * (not is_accepted))
        self._prune()

    def __add__(self, other: "StrataCounts") -> "StrataCounts":
        merged = dict(self.counts)
        for stratum, (ok, rejected) in other.counts.items():
            before = merged.get(stratum, (0, 0))
            merged[stratum] = (before[0] + ok, before[1] + rejected)
        counts = StrataCounts(merged)
        counts._prune()
        return counts

    def _prune(self) -> None:
        if len(self.counts) > MAX_STRATA:
            kept = sorted(self.counts, key=lambda stratum: content_id(*stratum))[:MAX_STRATA]
            self.counts = {stratum: self.counts[stratum] for stratum in kept}

    def to_manifest(self) -> dict[str, dict[str, list[int]]]:
        """Return accepted and rejected rows by value, by name."""
        found: dict[str, dict[str, list[int]]] = {}
        for name, value in sorted(self.counts):
            found.setdefault(name, {})[value] = list(self.counts[name, value])
        return found


def others_of(values: Mapping[str, list[int]], value: str) -> tuple[int, int]:
    """Return accepted and rejected rows of all values of a name but one."""
    ok, rejected = (sum(counts[position] for counts in values.values()) for position in (0, 1))
    return ok - values[value][0], rejected - values[value][1]

"""Counts over all accepted profiles: by value, and separately for personas that do not specify the attribute."""

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from factory.records import NOT_NEEDED
from factory.report.row_sample import StatusCounts
from factory.report.sections.balance import BALANCED, is_unspecified

MAX_VALUES = 1000
"""How many values of an attribute have a count of their own; rarer values share one."""
OTHERS = "others"
TOKEN_BIN = 25
ATTRIBUTES = ("age", "gender", "race", "birth_place", "language")


@dataclass
class ProfileCounts:
    """Counts over all profiles."""

    statuses: StatusCounts = field(default_factory=StatusCounts)
    values: dict[str, Counter[str]] = field(default_factory=lambda: {name: Counter() for name in ATTRIBUTES})
    unspecified: dict[str, Counter[str]] = field(default_factory=lambda: {name: Counter() for name in BALANCED})
    """Only profiles whose personas do not specify the attribute."""
    strata: dict[str, Counter[str]] = field(default_factory=lambda: {"ok": Counter(), "rejected": Counter()})
    """Accepted and rejected rows by the text of their strata."""
    tokens: Counter[int] = field(default_factory=Counter)
    """Output tokens, by the start of their bin."""

    def add(self, rows: pa.Table) -> None:
        """Add accepted profiles, given by the columns that are counted and the persona."""
        for name in ATTRIBUTES:
            self.values[name] = most_common(self.values[name] + _count(rows[name]), MAX_VALUES)
        for name in BALANCED:
            unspecified = rows[name].filter(is_unspecified(rows["persona"], name))
            self.unspecified[name] = most_common(self.unspecified[name] + _count(unspecified), MAX_VALUES)
        tokens = rows["output_tokens"].drop_null().to_numpy()
        starts, numbers = np.unique(tokens // TOKEN_BIN * TOKEN_BIN, return_counts=True)
        self.tokens.update(dict(zip(starts.tolist(), numbers.tolist(), strict=True)))

    def add_strata(self, rows: pa.Table) -> None:
        """Add the strata of rows, accepted or rejected."""
        rows = rows.filter(pc.fill_null(pc.not_equal(rows["reason"], NOT_NEEDED), True))
        for status, counted in self.strata.items():
            found = rows["strata"].filter(pc.equal(rows["status"], status)).drop_null()
            self.strata[status] = most_common(counted + _count(found), MAX_VALUES)


def _count(values: pa.ChunkedArray) -> Counter[str]:
    counter = Counter[str]()
    for pair in pc.value_counts(values).to_pylist():
        counter[str(pair["values"] or "nothing")] += pair["counts"]
    return counter


def most_common(counter: Counter[str], limit: int) -> Counter[str]:
    """Return the most common values, and the sum of the others under `OTHERS`."""
    named = Counter({value: number for value, number in counter.items() if value != OTHERS})
    top = Counter(dict(sorted(named.items(), key=lambda item: (-item[1], item[0]))[:limit]))
    rest = counter.total() - top.total()
    return top + Counter({OTHERS: rest})

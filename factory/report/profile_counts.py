"""What all accepted profiles say, counted in passing: by value, and apart where the persona leaves it open."""

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from factory.report.row_sample import Tally
from factory.report.sections.balance import BALANCED, asks_nothing

KEPT = 1000
"""How many values of an attribute are counted apart; what is rarer is counted together."""
OTHERS = "others"
TOKEN_BIN = 25
ATTRIBUTES = ("age", "gender", "race", "birth_place", "language")


@dataclass
class ProfileCounts:
    """Of all profiles."""

    tally: Tally = field(default_factory=Tally)
    values: dict[str, Counter[str]] = field(default_factory=lambda: {name: Counter() for name in ATTRIBUTES})
    unasked: dict[str, Counter[str]] = field(default_factory=lambda: {name: Counter() for name in BALANCED})
    """Of the profiles whose personas leave the attribute open."""
    tokens: Counter[int] = field(default_factory=Counter)
    """Output tokens, by the start of their bin."""

    def add(self, rows: pa.Table) -> None:
        """Count accepted profiles, given by the columns that are counted and the persona."""
        for name in ATTRIBUTES:
            self.values[name] = most(self.values[name] + _counted(rows[name]), KEPT)
        for name in BALANCED:
            unasked = rows[name].filter(asks_nothing(rows["persona"], name))
            self.unasked[name] = most(self.unasked[name] + _counted(unasked), KEPT)
        tokens = rows["output_tokens"].drop_null().to_numpy()
        starts, many = np.unique(tokens // TOKEN_BIN * TOKEN_BIN, return_counts=True)
        self.tokens.update(dict(zip(starts.tolist(), many.tolist(), strict=True)))


def _counted(values: pa.ChunkedArray) -> Counter[str]:
    counted = Counter[str]()
    for pair in pc.value_counts(values).to_pylist():
        counted[str(pair["values"] if pair["values"] is not None else "nothing")] += pair["counts"]
    return counted


def most(counter: Counter[str], many: int) -> Counter[str]:
    """The commonest values, and the sum of the others under a name of its own."""
    named = Counter({value: number for value, number in counter.items() if value != OTHERS})
    top = Counter(dict(sorted(named.items(), key=lambda item: (-item[1], item[0]))[:many]))
    rest = counter.total() - top.total()
    return top + Counter({OTHERS: rest})

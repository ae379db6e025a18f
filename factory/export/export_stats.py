"""Statistics of exported dialogues, in one pass: turns, lengths and tokens, by corpus and strategy.

Memory is bounded: lengths are counted in bins 2 % wide, and characters by linear counting over their ids, which are
hashes (off by 0.1 % at ten million, almost always exact below a thousand).
"""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

ROLES = ("system", "user", "assistant")
BIN = 1.02
BINS = 1024
"""1.02 to the power of 1,024 is 6e8 characters, far more than any message."""
QUANTILES = (0.1, 0.5, 0.9)
CELLS = 1 << 22
MOST_TURNS = 8
"""Dialogues with more turns are counted with these."""


def _no_lengths() -> dict[str, np.ndarray]:
    return {role: np.zeros(BINS, np.int64) for role in ROLES}


@dataclass
class ExportStats:
    """The statistics of one split."""

    rows: int = 0
    kinds: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Dialogues by corpus and strategy."""
    turns: Counter[int] = field(default_factory=Counter)
    """Dialogues by the number of replies, up to `MOST_TURNS` or more."""
    seen: np.ndarray = field(default_factory=lambda: np.zeros(CELLS, bool))
    """Which cells of the linear counting are occupied."""
    reply_tokens: int = 0
    """By the engine that wrote the replies; includes the JSON around rewritten ones."""
    letters: Counter[str] = field(default_factory=Counter)
    """Unicode characters by role."""
    longest: Counter[str] = field(default_factory=Counter)
    lengths: dict[str, np.ndarray] = field(default_factory=_no_lengths)

    def add(self, rows: pa.Table) -> None:
        """Add some rows of a table of dialogues."""
        self.rows += rows.num_rows
        pairs = zip(rows["corpus"].to_pylist(), rows["strategy"].to_pylist(), strict=True)
        self.kinds.update(pairs)
        turns = pc.divide(pc.list_value_length(rows["messages"]), 2).to_numpy()
        for number, count in zip(*np.unique(np.minimum(turns, MOST_TURNS), return_counts=True), strict=True):
            self.turns[int(number)] += int(count)
        speakers = pc.unique(rows["character_id"]).to_pylist()
        self.seen[np.array([int(id_, 16) % CELLS for id_ in speakers], np.int64)] = True
        self.reply_tokens += pc.sum(rows["output_tokens"]).as_py() or 0
        for chunk in rows["messages"].chunks:
            messages = chunk.flatten()
            lengths = pc.utf8_length(messages.field("content"))
            for role in ROLES:
                self._add_lengths(
                    role, lengths.filter(pc.equal(messages.field("role"), role)).to_numpy(zero_copy_only=False)
                )

    def _add_lengths(self, role: str, lengths: np.ndarray) -> None:
        if not len(lengths):
            return
        self.letters[role] += int(lengths.sum())
        self.longest[role] = max(self.longest[role], int(lengths.max()))
        bins = np.minimum(np.log1p(lengths) / np.log(BIN), BINS - 1).astype(np.int64)
        self.lengths[role] += np.bincount(bins, minlength=BINS)

    def to_json(self) -> dict[str, Any]:
        """Return the statistics for the manifest and the card; quantiles are off by at most 2 %."""
        return {
            "dialogues": self.rows,
            "characters": round(-CELLS * np.log1p(-self.seen.sum() / CELLS)),
            "kinds": [[*kind, count] for kind, count in sorted(self.kinds.items())],
            "turns": {str(number): self.turns[number] for number in sorted(self.turns)},
            "reply_tokens": self.reply_tokens,
            "lengths": {role: self._length_stats(role) for role in ROLES if self.lengths[role].any()},
        }

    def _length_stats(self, role: str) -> dict[str, Any]:
        messages = int(self.lengths[role].sum())
        ranks = np.searchsorted(np.cumsum(self.lengths[role]), [q * messages for q in QUANTILES])
        return {
            "messages": messages,
            "mean": round(self.letters[role] / messages, 1),
            **{f"p{round(100 * q)}": round(BIN ** (rank + 0.5) - 1) for q, rank in zip(QUANTILES, ranks, strict=True)},
            "longest": self.longest[role],
        }

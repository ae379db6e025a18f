"""What exported dialogues hold, counted as they pass: turns, lengths, tokens, by corpus and strategy.

Memory is bounded whatever passes: lengths are counted in bins that are 2 % wide, and the characters
that speak by the cells that the hashes which their ids are fall into (linear counting; off by 0.1 %
at ten million, exact below a thousand but for bad luck).
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
"""1.02 to the power of 1,024 is 6e8 characters, far more than a message has."""
QUANTILES = (0.1, 0.5, 0.9)
CELLS = 1 << 22
MOST_TURNS = 8
"""So many turns or more are counted as one."""


def _no_lengths() -> dict[str, np.ndarray]:
    return {role: np.zeros(BINS, np.int64) for role in ROLES}


@dataclass
class Figures:
    """Of one split."""

    rows: int = 0
    kinds: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Dialogues by corpus and strategy."""
    turns: Counter[int] = field(default_factory=Counter)
    """Dialogues by how often the character speaks, the most being `MOST_TURNS` or more."""
    seen: np.ndarray = field(default_factory=lambda: np.zeros(CELLS, bool))
    """The cells of the characters that spoke."""
    reply_tokens: int = 0
    """As the engine that wrote the replies counted them; what it spent on a rewriting's JSON is in it."""
    letters: Counter[str] = field(default_factory=Counter)
    """Unicode characters by role."""
    longest: Counter[str] = field(default_factory=Counter)
    lengths: dict[str, np.ndarray] = field(default_factory=_no_lengths)

    def add(self, rows: pa.Table) -> None:
        """Count some rows of a table of dialogues."""
        self.rows += rows.num_rows
        pairs = zip(rows["corpus"].to_pylist(), rows["strategy"].to_pylist(), strict=True)
        self.kinds.update(pairs)
        turns = pc.divide(pc.list_value_length(rows["messages"]), 2).to_numpy()
        for many, count in zip(*np.unique(np.minimum(turns, MOST_TURNS), return_counts=True), strict=True):
            self.turns[int(many)] += int(count)
        speakers = pc.unique(rows["character_id"]).to_pylist()
        self.seen[np.array([int(one, 16) % CELLS for one in speakers], np.int64)] = True
        self.reply_tokens += pc.sum(rows["output_tokens"]).as_py() or 0
        for chunk in rows["messages"].chunks:
            said = chunk.flatten()
            lengths = pc.utf8_length(said.field("content"))
            for role in ROLES:
                self._lengths(role, lengths.filter(pc.equal(said.field("role"), role)).to_numpy(zero_copy_only=False))

    def _lengths(self, role: str, lengths: np.ndarray) -> None:
        if not len(lengths):
            return
        self.letters[role] += int(lengths.sum())
        self.longest[role] = max(self.longest[role], int(lengths.max()))
        bins = np.minimum(np.log1p(lengths) / np.log(BIN), BINS - 1).astype(np.int64)
        self.lengths[role] += np.bincount(bins, minlength=BINS)

    def told(self) -> dict[str, Any]:
        """For the manifest and the card; quantiles are off by 2 % at most."""
        return {
            "dialogues": self.rows,
            "characters": round(-CELLS * np.log1p(-self.seen.sum() / CELLS)),
            "kinds": [[*kind, count] for kind, count in sorted(self.kinds.items())],
            "turns": {str(many): self.turns[many] for many in sorted(self.turns)},
            "reply_tokens": self.reply_tokens,
            "lengths": {role: self._told(role) for role in ROLES if self.lengths[role].any()},
        }

    def _told(self, role: str) -> dict[str, Any]:
        messages = int(self.lengths[role].sum())
        ranks = np.searchsorted(np.cumsum(self.lengths[role]), [q * messages for q in QUANTILES])
        return {
            "messages": messages,
            "mean": round(self.letters[role] / messages, 1),
            **{f"p{round(100 * q)}": round(BIN ** (rank + 0.5) - 1) for q, rank in zip(QUANTILES, ranks, strict=True)},
            "longest": self.longest[role],
        }

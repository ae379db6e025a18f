"""Divides answers into strata, from which those for people to label are drawn.

A stratum is a task and a bin of the judges' mean score: 5, from 4.5, below it, or failed. Failed answers are a stratum
of their own: where judges fail the worst answers, their means are biased.
"""

import hashlib
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

BINS = ("5", "4.5 to 5", "below 4.5", "failed")
SIGNS = ("a lower", "equal", "a higher", "failed")
MIN_ROWS = 15
"""A stratum with fewer rows is merged with its neighbor, but failed answers with none."""
MIN_DRAWN = 2
"""Rows drawn from each stratum, without which it would have no variance."""

Cell = tuple[int, int]
"""Task and bin, as numbers."""


def score_bins(means: np.ndarray) -> np.ndarray:
    """Return the bin of each judges' mean, by its number; NaN has failed."""
    return np.select([np.isnan(means), means >= 5 - 1e-6, means >= 4.5], [3, 0, 1], 2)


def difference_bins(differences: np.ndarray) -> np.ndarray:
    """Return the bin of each difference of two means, by its sign; NaN has failed."""
    same = np.abs(differences) < 1e-6
    return np.select([np.isnan(differences), same, differences > 0], [3, 1, 2], 0)


def merge_small(counts: Mapping[Cell, int]) -> dict[Cell, Cell]:
    """Return for each cell the first cell of the stratum that it belongs to.

    Args:
        counts: rows by task and bin.
    """
    strata: dict[Cell, Cell] = {}
    for task in sorted({task for task, _ in counts}):
        groups: list[list[Cell]] = []
        for cell in sorted(cell for cell in counts if cell[0] == task):
            failed = cell[1] == len(BINS) - 1
            if groups and not failed and sum(counts[one] for one in groups[-1]) < MIN_ROWS:
                groups[-1].append(cell)
            else:
                groups.append([cell])
        scored = [group for group in groups if group[0][1] < len(BINS) - 1]
        if len(scored) > 1 and sum(counts[one] for one in scored[-1]) < MIN_ROWS:
            scored[-2].extend(scored[-1])
            groups.remove(scored[-1])
        strata |= {cell: group[0] for group in groups for cell in group}
    return strata


def allocate(rows: Mapping[Any, int], total: int) -> dict[Any, int]:
    """Share `total` draws among strata in proportion to their rows, at least two each where there are as many."""
    all_rows = sum(rows.values())
    drawn = {name: min(count, MIN_DRAWN) for name, count in rows.items()}
    wanted = {name: total * count / max(1, all_rows) for name, count in rows.items()}
    left = max(0, min(total, all_rows) - sum(drawn.values()))
    for _ in range(left):  # the stratum that lacks most
        name = max((one for one in rows if drawn[one] < rows[one]), key=lambda one: wanted[one] - drawn[one])
        drawn[name] += 1
    return drawn


def draw_key(seed: int, *parts: str) -> float:
    """Return a number from 0 to 1 that orders rows for drawing, from their content alone."""
    digest = hashlib.sha256("\0".join([str(seed), *parts]).encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8]) / math.pow(2, 64)


def stratum_name(tasks: Sequence[str], bins: Sequence[str], cell: Cell) -> str:
    """Return a stratum's name."""
    return f"{tasks[cell[0]]}, {bins[cell[1]]}"

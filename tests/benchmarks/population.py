"""Population figures of 1,000,000 rows and of 100,000: memory, size of the state, and time."""

import pickle
import resource
import time
from collections.abc import Callable

import numpy as np
import pyarrow as pa

from factory.population.cast_figures import LONG_ITEMS, BandCounts, CastFigures, long_texts, text_bands
from factory.text.ngrams import mix
from tests.drawn_cast import profile, table_of

SMALL, LARGE = 100_000, 1_000_000
BLOCK = 1_000
VARIETY = 4_000
"""Distinct texts of each column; rows combine them, so that no two are alike."""


def blocks(rows: int) -> list[tuple[int, int]]:
    """Return the beginning and number of rows of each block."""
    return [(start, min(BLOCK, rows - start)) for start in range(0, rows, BLOCK)]


def drawn(start: int, number: int, people: pa.Table) -> pa.Table:
    """Return rows whose columns are those of different people each."""
    draw = np.random.default_rng(start)
    columns = {name: people[name].take(pa.array(draw.integers(VARIETY, size=number))) for name in people.column_names}
    columns["character_id"] = [f"{key:016x}" for key in mix(np.arange(start, start + number, dtype=np.uint64)).tolist()]
    return pa.table(columns)


def resident() -> float:
    """Return the largest resident memory of this process so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def figures_of(rows: int, people: pa.Table) -> tuple[float, int, dict]:
    """Return the seconds, the bytes of the state and the figures of so many rows, by both passes."""
    began, cast = time.monotonic(), CastFigures()
    for start, number in blocks(rows):
        cast.add(drawn(start, number, people))
    cast.sample.prune()
    bands = BandCounts.of(cast.sampled_bands())
    for start, number in blocks(rows):
        bands.add(text_bands(long_texts(drawn(start, number, people))))
    return time.monotonic() - began, len(pickle.dumps(cast)), cast.to_manifest(bands)


def measure(say: Callable[[str], None]) -> dict[str, float]:
    """Return the ratios of memory, state and time, and the seconds and megabytes of the larger one."""
    short = [profile(number) for number in range(VARIETY)]
    people = table_of([one | {name: str(one[name])[:80] for name in LONG_ITEMS} for one in short])
    small_seconds, small_state, _ = figures_of(SMALL, people)
    before = resident()
    seconds, state, figures = figures_of(LARGE, people)
    say(f"  {figures['effective']}, {figures['near_duplicates']}, {figures['top']}")
    return {
        "peak memory of 1,000,000 rows over 100,000": resident() / before,
        "state of 1,000,000 rows over 100,000": state / small_state,
        "time of 1,000,000 rows over 100,000": seconds / small_seconds,
        "state in MB": state / 1e6,
        "peak memory in MB": resident(),
        "milliseconds a row": seconds / LARGE * 1000,
    }

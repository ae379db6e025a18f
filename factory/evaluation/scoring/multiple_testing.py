"""Tests of many hypotheses at once: step-down max-T by sign flips that all hypotheses share (Westfall and Young).

A hypothesis is that one value per persona has a mean of 0. Its statistic, |sum| / sqrt(sum of squares), is monotone
in |t|, and flips of signs leave the denominator alone, so a family costs one matrix product.
"""

from collections.abc import Callable

import numpy as np

FLIPS = 4_000
_CHUNK = 256
"""Hypotheses at a time: 4 MB of flipped statistics, which a cache holds."""
_TIE = 1e-4
"""Statistics this close are equal; float32 gives them to about 1e-6."""


def max_t(values_of: Callable[[np.ndarray], np.ndarray], hypotheses: int, personas: int, seed: int) -> np.ndarray:
    """Return the p-value of each hypothesis, adjusted so that any false claim in the family has at most its level.

    Memory does not grow with the hypotheses: the values of a chunk are asked for twice.

    Args:
        values_of: returns the values (chunk, personas) of the hypotheses with these numbers, NaN where a persona has
            none.
        hypotheses: their number.
        personas: number of personas.
        seed: of the flips.

    Returns:
        (hypotheses,), 1 where nothing differs.
    """
    flips = sign_flips(personas, seed).T
    observed = np.concatenate([
        _ratios(values_of(numbers)).sum(axis=1) for numbers in _chunks(np.arange(hypotheses))
    ] or [np.empty(0)])  # fmt: skip
    order = np.argsort(np.abs(observed), kind="stable")
    p_values, highest = np.ones(hypotheses), np.zeros(flips.shape[1], np.float32)
    for numbers in _chunks(order):
        flipped = np.abs(_ratios(values_of(numbers)) @ flips)
        np.maximum(flipped[0], highest, out=flipped[0])
        np.maximum.accumulate(flipped, axis=0, out=flipped)
        highest = flipped[-1].copy()
        least = np.abs(observed[numbers])[:, None].astype(np.float32) - np.float32(_TIE)
        p_values[numbers] = np.count_nonzero(flipped >= least, axis=1) / flips.shape[1]
    p_values[order] = np.maximum.accumulate(p_values[order][::-1])[::-1]
    return p_values


def sign_flips(personas: int, seed: int) -> np.ndarray:
    """Return signs (flips, personas): all of them for few personas, else FLIPS drawn ones, the first all 1."""
    if 2**personas <= FLIPS:
        numbers = np.arange(2**personas)[:, None] >> np.arange(personas) & 1
        return np.asarray(1 - 2 * numbers, np.float32)
    signs = np.random.default_rng([seed, personas]).integers(0, 2, (FLIPS, personas), np.int8)
    signs[0] = 0
    return np.asarray(1 - 2 * signs, np.float32)


def _chunks(numbers: np.ndarray) -> list[np.ndarray]:
    return [numbers[start : start + _CHUNK] for start in range(0, len(numbers), _CHUNK)]


def _ratios(values: np.ndarray) -> np.ndarray:
    values = np.nan_to_num(values)
    size = np.sqrt((values**2).sum(axis=1, keepdims=True))
    return np.asarray(np.divide(values, size, out=np.zeros(values.shape), where=size > 0), np.float32)

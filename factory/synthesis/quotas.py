"""Quotas: how many rows of each stratum are accepted, and which ones.

Rows are counted by stratum and by a bucket of a hash of their ids; those in the lowest buckets are accepted. So the
driver sees counts only, and the choice depends on nothing but the accepted rows.
"""

import itertools
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from factory.config.cast import Quota
from factory.errors import InputError
from factory.records import content_id
from factory.synthesis.facts import shares_of

BUCKETS = 4096
"""A quota is met to this part of its rows, or to a row: far below the 1 % that shares of a sample are read to."""
OVER_QUOTA = "over_quota"

Counts = dict[str, np.ndarray]
"""Rows by stratum and bucket, int64 of shape (BUCKETS,)."""


def cells(quotas: Sequence[Quota]) -> dict[str, float]:
    """Return the share of each combination of values."""
    found = {}
    for values in itertools.product(*(shares_of(quota).items() for quota in quotas)):
        names = {quota.by: value for quota, (value, _) in zip(quotas, values, strict=True)}
        found[_name(names, quotas)] = math.prod(share for _, share in values)
    return found


def _name(strata: Mapping[str, str], quotas: Sequence[Quota]) -> str:
    return ", ".join(f"{quota.by} {strata[quota.by]}" for quota in quotas)


def _names(rows: pa.Table, quotas: Sequence[Quota]) -> list[str]:
    return [_name(json.loads(strata), quotas) for strata in rows["strata"].to_pylist()]


def count_rows_by_stratum(rows: pa.Table, quotas: Sequence[Quota]) -> Counts:
    """Count accepted rows, which have the columns `character_id` and `strata`."""
    counts: Counts = {}
    for stratum, bucket in zip(_names(rows, quotas), _buckets(rows).tolist(), strict=True):
        counts.setdefault(stratum, np.zeros(BUCKETS, np.int64))[bucket] += 1
    return counts


def merge(parts: Iterable[Counts]) -> Counts:
    """Return the sum of counts."""
    total: Counts = {}
    for part in parts:
        for stratum, numbers in part.items():
            total[stratum] = total.get(stratum, 0) + numbers
    return total


def first_bucket_over(counts: Counts, quotas: Sequence[Quota]) -> dict[str, int]:
    """Return the first bucket of each stratum whose rows are over its quota.

    As many rows are accepted as the scarcest stratum allows.

    Raises:
        InputError: a combination of values has no row.
    """
    shares = cells(quotas)
    totals = {stratum: int(counts[stratum].sum()) if stratum in counts else 0 for stratum in shares}
    if missing := [stratum for stratum, rows in totals.items() if not rows]:
        raise InputError(
            f"personas.quotas: no row has {missing[0]}, so the shares cannot be met; "
            "leave that value out, or add rows that have it"
        )
    rows = min(totals[stratum] / share for stratum, share in shares.items())
    found = {}
    for stratum, share in shares.items():
        before = np.concatenate([[0], np.cumsum(counts[stratum])])  # rows in the buckets before each
        found[stratum] = int(np.argmin(np.abs(before - rows * share)))
    return found


def count_within(rows: pa.Table, quotas: Sequence[Quota]) -> int:
    """Return how many rows `cut` would keep.

    Raises:
        InputError: a combination of values has no row.
    """
    counts = count_rows_by_stratum(rows, quotas)
    return sum(int(counts[stratum][:first].sum()) for stratum, first in first_bucket_over(counts, quotas).items())


def cut(rows: pa.Table, quotas: Sequence[Quota], first_over: Mapping[str, int]) -> tuple[pa.Table, pa.Table]:
    """Return the rows within their quotas, and the others as rejects that keep their position alone."""
    limits = np.array([first_over[stratum] for stratum in _names(rows, quotas)], np.int64)
    is_kept = _buckets(rows) < limits
    return rows.filter(pa.array(is_kept)), _as_rejects(rows.filter(pa.array(~is_kept)))


def _as_rejects(rows: pa.Table) -> pa.Table:
    values: dict[str, Any] = {
        "source": rows["source"],
        "row": rows["row"],
        "status": pa.array(["rejected"] * rows.num_rows, pa.string()),
        "reason": pa.array([OVER_QUOTA] * rows.num_rows, pa.string()),
        "detail": rows["strata"],
    }
    return pa.table(
        [values.get(field.name, pa.nulls(rows.num_rows, field.type)) for field in rows.schema], schema=rows.schema
    )


def _buckets(rows: pa.Table) -> np.ndarray:
    ids = rows["character_id"].to_pylist()
    return np.array([int(content_id("quota", id_)[:3], 16) for id_ in ids], np.int64)

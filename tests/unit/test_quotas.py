"""Quotas: shares are met, whatever the rows are, and depend on nothing but the rows."""

import json
from collections import Counter

import numpy as np
import pyarrow as pa
import pytest

from factory.config.cast import Quota
from factory.errors import InputError
from factory.records import content_id
from factory.storage.rows import ok_row
from factory.storage.schemas import PERSONAS
from factory.synthesis.personas import read_cast_member
from factory.synthesis.quotas import BUCKETS, cells, count_rows_by_stratum, cut, first_bucket_over, merge
from tests.made_people import made_person
from tests.unit.test_facts import settings

SEX = Quota(by="sex", shares={"female": 1, "male": 3})
AGE = Quota(by="age", bands=(18, 30, 45, 91))


def people(numbers: range, *quotas: Quota) -> pa.Table:
    """Return the accepted rows of a table of personas."""
    chosen = settings(quotas=[quota.model_dump(exclude_defaults=True) for quota in quotas])
    rows = [ok_row(read_cast_member(made_person(n), chosen)) | {"source": 0, "row": n} for n in numbers]
    return pa.Table.from_pylist(rows, schema=PERSONAS)


def strata(rows: pa.Table) -> Counter:
    """Count the rows of each combination of sex and age."""
    found = map(json.loads, rows["strata"].to_pylist())
    return Counter(f"sex {one['sex']}, age {one['age']}" for one in found)


@pytest.mark.parametrize("rows", [60, 600, 12_000])
def test_shares_are_met(rows):
    table, quotas = people(range(rows), SEX, AGE), (SEX, AGE)
    kept, over = cut(table, quotas, first_bucket_over(count_rows_by_stratum(table, quotas), quotas))
    assert kept.num_rows + over.num_rows == rows
    found, shares = strata(kept), cells((SEX, AGE))
    scarce = min(strata(table)[one] / share for one, share in shares.items())
    for one, share in shares.items():
        assert abs(found[one] - scarce * share) <= max(1, 0.01 * scarce * share)
    assert set(over["reason"].to_pylist()) == {"over_quota"}
    assert over["character_id"].null_count == over.num_rows


def test_the_choice_is_the_same_however_rows_are_parted():
    table = people(range(3000), SEX)
    parts = [table.take(np.flatnonzero(np.arange(3000) % 7 == part)) for part in range(7)]
    first = first_bucket_over(count_rows_by_stratum(table, (SEX,)), (SEX,))
    assert first == first_bucket_over(merge(count_rows_by_stratum(part, (SEX,)) for part in parts), (SEX,))
    whole = set(cut(table, (SEX,), first)[0]["character_id"].to_pylist())
    assert whole == {id_ for part in parts for id_ in cut(part, (SEX,), first)[0]["character_id"].to_pylist()}


def test_shares_of_several_quotas_hold_in_each_combination():
    shares = cells((SEX, AGE))
    assert sum(shares.values()) == pytest.approx(1)
    assert shares["sex male, age 18-30"] == pytest.approx(0.25)


def test_a_stratum_without_rows_is_named():
    table = people(range(100), SEX)
    nobody = Quota(by="sex", shares={"female": 1, "male": 1, "other": 1})
    with pytest.raises(InputError, match="no row has sex other, so"):
        first_bucket_over(count_rows_by_stratum(table, (SEX,)), (nobody,))


def test_buckets_are_even():
    counts = np.bincount([int(content_id("quota", f"{n:016x}")[:3], 16) for n in range(100_000)], minlength=BUCKETS)
    assert len(counts) == BUCKETS
    assert counts.max() < 60

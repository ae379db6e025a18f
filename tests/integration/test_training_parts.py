"""Parts of a training that need torch or import Ray, but no cluster."""

import pytest

from factory.errors import InputError
from factory.tables import Table
from factory.training.pack import curated_manifest


def test_a_curated_set_without_validation_is_told_by_the_setting_that_left_it_out(tmp_path):
    table = Table(str(tmp_path), "curated/validation")
    table.finish({"rows_in": 0, "ok": 0})
    with pytest.raises(InputError, match=r"raise curation\.validation_fraction, and run jobs/curate\.py again"):
        curated_manifest(table)
    table.finish({"rows_in": 3, "ok": 0})
    with pytest.raises(InputError, match="none of its 3 dialogues is accepted"):
        curated_manifest(table)

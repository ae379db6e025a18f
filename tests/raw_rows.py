"""Files of raw rows for tests of the readers."""

import gzip
from pathlib import Path

import pytest
import zstandard
from hypothesis import settings
from hypothesis import strategies as st

from factory.errors import InputError
from factory.synthesis.input_files import read_rows

PUBLIC_DATA = Path(__file__).parents[2] / "shared" / "data"
COMPRESS = {"": bytes, ".gz": gzip.compress, ".zst": zstandard.compress}

quick = settings(max_examples=40, deadline=None)  # the first example includes the imports
# UTF-8 has no lone surrogates.
texts = st.text(st.characters(exclude_categories=["Cs"]))
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


def write(path, data):
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return str(path)


def values(path):
    """Return the values of all rows, none of which has an error."""
    rows = list(read_rows(path))
    assert [row.error for row in rows] == [""] * len(rows)
    return [row.value for row in rows]


def public(name):
    """Return the path of a public sample, or skip the test."""
    path = PUBLIC_DATA / name
    if not path.exists():
        pytest.skip(f"{path} is missing: the public samples are not part of the project")
    return str(path)


def values_before_error(path, match):
    """Return the values before an error, which is one line that begins with the path."""
    rows = []
    with pytest.raises(InputError, match=match) as problem:
        rows.extend(row.value for row in read_rows(path))
    assert str(problem.value).startswith(f"{path}: ")
    assert "\n" not in str(problem.value)
    return rows

"""Exact deduplication: of equal rows the first is kept, and the others are rejected."""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from factory.text.normalize import remove_invisible


def drop_duplicates(rows: pa.Table, id_column: str, has_unique_keys: bool = False) -> tuple[pa.Table, pa.Table]:
    """Keep the first of equal accepted rows, in file order, and reject the others.

    Args:
        rows: the rows.
        id_column: the column that is the same in equal rows.
        has_unique_keys: whether rows of one id are equal whatever they contain, as the id is that of a key.

    Returns:
        The kept rows sorted by id, and the rejected ones.
    """
    rejected = rows.filter(pc.not_equal(rows["status"], "ok"))
    accepted = rows.filter(pc.equal(rows["status"], "ok")).sort_by(
        [(id_column, "ascending"), ("source", "ascending"), ("row", "ascending")]
    )
    ids = accepted[id_column].to_numpy()
    first = np.ones(len(ids), bool)
    first[1:] = ids[1:] != ids[:-1]
    kept = accepted.filter(pa.array(first))
    repeated = accepted.filter(pa.array(~first))
    if repeated.num_rows:
        originals = np.flatnonzero(first)[np.cumsum(first) - 1][~first]
        repeated = _as_duplicates(repeated, accepted.take(originals), has_unique_keys)
    return kept, pa.concat_tables([rejected, repeated])


def _as_duplicates(rows: pa.Table, originals: pa.Table, has_unique_keys: bool) -> pa.Table:
    """Reject rows that have the id of a kept one; only their file and row number are kept."""
    # Ids are not computed from `card`: cards of one character differ in notes for people.
    names = [n for n in rows.schema.names if n not in ("source", "row", "status", "reason", "detail", "card")]
    same = np.array(
        [
            has_unique_keys or _normalized(a) == _normalized(b)
            for a, b in zip(rows.select(names).to_pylist(), originals.select(names).to_pylist(), strict=True)
        ]
    )
    positions = zip(originals["source"].to_pylist(), originals["row"].to_pylist(), strict=True)
    values = {
        "source": rows["source"],
        "row": rows["row"],
        "status": pa.array(["rejected"] * rows.num_rows),
        "reason": pa.array(np.where(same, "duplicate", "id_collision").tolist()),
        "detail": pa.array([f"same as row {row} of file {source}" for source, row in positions]),
    }
    columns = [values.get(field.name, pa.nulls(rows.num_rows, field.type)) for field in rows.schema]
    return pa.table(columns, schema=rows.schema)


def _normalized(value: Any) -> Any:
    """Return a value of a row with its texts normalized, as ids are computed from them."""
    if isinstance(value, str):
        return remove_invisible(value)
    if isinstance(value, dict):
        return {name: _normalized(item) for name, item in value.items()}
    return [_normalized(item) for item in value] if isinstance(value, list) else value

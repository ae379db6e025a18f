"""Rows that say the same: the first that was read stays, the others are rejected."""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from factory.text.normalize import remove_invisible


def drop_duplicates(rows: pa.Table, id_column: str) -> tuple[pa.Table, pa.Table]:
    """Of equal accepted rows keep the one that was read first; reject the others.

    Returns:
        The kept rows sorted by id, and the rejected ones.
    """
    refused = rows.filter(pc.not_equal(rows["status"], "ok"))
    clean = rows.filter(pc.equal(rows["status"], "ok")).sort_by(
        [(id_column, "ascending"), ("source", "ascending"), ("row", "ascending")]
    )
    ids = clean[id_column].to_numpy()
    first = np.ones(len(ids), bool)
    first[1:] = ids[1:] != ids[:-1]
    kept = clean.filter(pa.array(first))
    again = clean.filter(pa.array(~first))
    if again.num_rows:
        holder = np.flatnonzero(first)[np.cumsum(first) - 1][~first]
        again = _as_duplicates(again, clean.take(holder))
    return kept, pa.concat_tables([refused, again])


def _as_duplicates(rows: pa.Table, holders: pa.Table) -> pa.Table:
    """Reject rows that have the id of a kept one; null all but their place."""
    names = [n for n in rows.schema.names if n not in ("source", "row", "status", "reason", "detail")]
    same = np.array(
        [
            _said(a) == _said(b)
            for a, b in zip(rows.select(names).to_pylist(), holders.select(names).to_pylist(), strict=True)
        ]
    )
    places = zip(holders["source"].to_pylist(), holders["row"].to_pylist(), strict=True)
    told = {
        "source": rows["source"],
        "row": rows["row"],
        "status": pa.array(["rejected"] * rows.num_rows),
        "reason": pa.array(np.where(same, "duplicate", "id_collision").tolist()),
        "detail": pa.array([f"same as row {row} of file {source}" for source, row in places]),
    }
    columns = [told.get(field.name, pa.nulls(rows.num_rows, field.type)) for field in rows.schema]
    return pa.table(columns, schema=rows.schema)


def _said(value: Any) -> Any:
    """Return a value of a row, its texts without what tells no rows apart."""
    if isinstance(value, str):
        return remove_invisible(value)
    if isinstance(value, dict):
        return {name: _said(each) for name, each in value.items()}
    return [_said(each) for each in value] if isinstance(value, list) else value

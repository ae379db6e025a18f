"""Rows of a table: built from a record or a reject, and counted by status and reason."""

import dataclasses
from collections.abc import Mapping
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute

from factory.records import Completion, Counts, Message, Reject
from factory.text.normalize import shorten

Row = Mapping[str, Any]
Record = TypeVar("Record")

TOKEN_COLUMNS = ["prompt_tokens", "output_tokens", "cached_tokens", "thought_tokens"]
COUNTED_COLUMNS = ["status", "reason", *TOKEN_COLUMNS]
"""What `count_rows` needs."""
DETAIL_CHARACTERS = 20_000
"""Enough for a rejected reply of 4,000 tokens; longer ones were never meant to be a reply."""


def character_numbers(rows: pa.Table) -> np.ndarray:
    """Return the character ids of rows as numbers, uint64 of shape (rows,), whose order is that of the ids."""
    return np.array([int(name, 16) for name in rows["character_id"].to_pylist()], np.uint64)


def ok_row(record: Any, completion: Completion | None = None, **provenance: str) -> dict[str, Any]:
    """Return the row of a record, with its tokens and thoughts, and the `prompt` and `model` that generated it."""
    # Not dataclasses.asdict: it copies deeply, which is slow for a million rows.
    row = {name: getattr(record, name) for name in record.__slots__}
    if "messages" in row:
        row["messages"] = [{"role": m.role, "content": m.content} for m in row["messages"]]
    return row | {"status": "ok"} | provenance | _of_completion(completion)


def rejected_row(reject: Reject, ids: Row, completion: Completion | None = None, **provenance: str) -> dict[str, Any]:
    """Return the row of a reject: its ids, the reason and the raw text; the other columns are null."""
    # Parquet holds UTF-8, so lone surrogates are escaped.
    detail = shorten(reject.detail, DETAIL_CHARACTERS).encode("utf-8", "backslashreplace").decode()
    outcome = {"status": "rejected", "reason": reject.reason, "detail": detail}
    return dict(ids) | outcome | provenance | _of_completion(completion)


def _of_completion(completion: Completion | None) -> dict[str, Any]:
    if completion is None:
        return {}
    thoughts = list(completion.thoughts) if any(completion.thoughts) else None
    return {"thoughts": thoughts} | {name: getattr(completion, name) for name in TOKEN_COLUMNS}


def to_record(record_type: type[Record], row: Row) -> Record:
    """Return the record of a row; fields with a default may be missing from the row."""
    fields = dataclasses.fields(record_type)  # type: ignore[arg-type]
    return record_type(**{field.name: _to_field(row[field.name]) for field in fields if field.name in row})


def _to_field(value: Any) -> Any:
    if not isinstance(value, list):
        return value
    return tuple(Message(item["role"], item["content"]) if isinstance(item, dict) else item for item in value)


def to_messages(row: Row) -> tuple[Message, ...]:
    """Return the `messages` column of a row as records."""
    return tuple(Message(m["role"], m["content"]) for m in row["messages"])


def count_rows(table: pa.Table) -> Counts:
    """Count rows by status and reason, with their tokens."""
    status, reason = table["status"].to_pylist(), table["reason"].to_pylist()
    reasons = [r for s, r in zip(status, reason, strict=True) if s != "ok"]
    totals = [pa.compute.sum(table[name]).as_py() or 0 for name in TOKEN_COLUMNS]
    return Counts(len(status) - len(reasons), {r: reasons.count(r) for r in sorted(set(reasons))}, *totals)

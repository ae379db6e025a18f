"""Rows of a table: built from a record or a reject, and counted by status and reason."""

from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute

from factory.records import Completion, Counts, Message, Reject
from factory.text.normalize import shortened

Row = Mapping[str, Any]

DETAIL_CHARACTERS = 20_000
"""A reply of 4,000 tokens is shown whole where it is rejected; what is longer was never meant to be a reply."""


def ok_row(record: Any, completion: Completion | None = None, **made_with: str) -> dict[str, Any]:
    """The row of a record, with the tokens that it took and the `prompt` and `model` that made it."""
    # Not dataclasses.asdict: it copies deeply, and a million rows feel that.
    row = {name: getattr(record, name) for name in record.__slots__}
    if "messages" in row:
        row["messages"] = [{"role": m.role, "content": m.content} for m in row["messages"]]
    return row | {"status": "ok"} | made_with | _token_counts(completion)


def rejected_row(reject: Reject, ids: Row, completion: Completion | None = None, **made_with: str) -> dict[str, Any]:
    """The row of a reject: its ids, the reason and the raw text; all else is null."""
    # Parquet holds UTF-8: what is not (lone surrogates) is kept readable.
    detail = shortened(reject.detail, DETAIL_CHARACTERS).encode("utf-8", "backslashreplace").decode()
    told = {"status": "rejected", "reason": reject.reason, "detail": detail}
    return dict(ids) | told | made_with | _token_counts(completion)


def _token_counts(completion: Completion | None) -> dict[str, int]:
    if completion is None:
        return {}
    return {
        "prompt_tokens": completion.prompt_tokens,
        "output_tokens": completion.output_tokens,
        "cached_tokens": completion.cached_tokens,
    }


def to_messages(row: Row) -> tuple[Message, ...]:
    """The `messages` column of a row as records."""
    return tuple(Message(m["role"], m["content"]) for m in row["messages"])


def count_rows(table: pa.Table) -> Counts:
    """The accounts of some rows with the common columns."""
    status, reason = table["status"].to_pylist(), table["reason"].to_pylist()
    reasons = [r for s, r in zip(status, reason, strict=True) if s != "ok"]
    totals = [pa.compute.sum(table[name]).as_py() or 0 for name in ("prompt_tokens", "output_tokens", "cached_tokens")]
    return Counts(len(status) - len(reasons), {r: reasons.count(r) for r in sorted(set(reasons))}, *totals)
